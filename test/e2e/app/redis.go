package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// redis sets a large value, gets it back, and sends a thousand commands without waiting for one
// answer between.
func redis(ctx context.Context, args []string) (any, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("usage: app redis HOST:PORT")
	}
	conn, err := dial(ctx, args[0])
	if err != nil {
		return map[string]string{"error": err.Error()}, nil
	}
	defer conn.Close()
	if err := talkRedis(conn); err != nil {
		return map[string]string{"error": err.Error()}, nil
	}
	return map[string]any{"ok": true}, nil
}

func dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(20 * time.Second))
}

const pipelined = 1000

func talkRedis(conn net.Conn) error {
	r, large := bufio.NewReader(conn), strings.Repeat("x", 1<<20)
	if got, err := ask(conn, r, "SET", "large", large); err != nil || got != "OK" {
		return fmt.Errorf("SET: %.40q %w", got, err)
	}
	if got, err := ask(conn, r, "GET", "large"); err != nil || got != large {
		return fmt.Errorf("GET: %d bytes of %d: %w", len(got), len(large), err)
	}
	if _, err := ask(conn, r, "DEL", "counter"); err != nil {
		return fmt.Errorf("DEL: %w", err)
	}
	commands := strings.Repeat(command("INCR", "counter"), pipelined)
	if _, err := io.WriteString(conn, commands); err != nil {
		return fmt.Errorf("INCR: %w", err)
	}
	for i := 1; i <= pipelined; i++ {
		if got, err := reply(r); err != nil || got != strconv.Itoa(i) {
			return fmt.Errorf("answer %d to INCR: %q %w", i, got, err)
		}
	}
	return nil
}

func ask(w io.Writer, r *bufio.Reader, words ...string) (string, error) {
	if _, err := io.WriteString(w, command(words...)); err != nil {
		return "", err
	}
	return reply(r)
}

func command(words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

// reply reads a simple string, an integer or a bulk string.
func reply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil {
			return "", err
		}
		bulk := make([]byte, n+2)
		_, err = io.ReadFull(r, bulk)
		return string(bulk[:n]), err
	}
	return "", fmt.Errorf("redis says %q", line)
}
