package proxy_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A response whose end has come while its caller still holds back the window must give the
// connection between the proxies its window back in full: the sum of what these leave behind is
// many times that window.
func TestHeldTailsDoNotUseUpTheMeshConnection(t *testing.T) {
	m := newMesh(t, 0)
	body := strings.Repeat("x", 48<<10)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, body)
	}))
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerStream: 16 << 10}}
	t.Cleanup(tr.CloseIdleConnections)
	c := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	for i := range 200 {
		resp, err := c.Get(url)
		check(t, err)
		if i%2 == 0 { // read to the end; or leave, and cancel
			got, err := io.ReadAll(resp.Body)
			if err != nil || len(got) != len(body) {
				t.Fatalf("request %d: %d bytes, %v", i, len(got), err)
			}
		}
		resp.Body.Close()
	}
}
