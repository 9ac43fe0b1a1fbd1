package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/gorilla/websocket"
)

// webSocket holds a conversation: small, large and binary messages in turn must come back as they
// were.
func webSocket(ctx context.Context, args []string) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("usage: app ws ws://HOST/PATH")
	}
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, args[0], nil)
	if err != nil {
		return map[string]string{"error": err.Error()}, nil
	}
	defer conn.Close()
	echoed := 0
	for i := range 50 {
		sent := strings.Repeat("tulle", 1+i*400)
		kind := websocket.TextMessage + i%2
		if err := conn.WriteMessage(kind, []byte(sent)); err != nil {
			return map[string]any{"error": err.Error(), "echoed": echoed}, nil
		}
		got, message, err := conn.ReadMessage()
		if err != nil || got != kind || string(message) != sent {
			return map[string]any{
				"error": fmt.Sprintf("message %d came back wrong: %v", i, err), "echoed": echoed,
			}, nil
		}
		echoed++
	}
	return map[string]any{"status": resp.StatusCode, "echoed": echoed}, nil
}
