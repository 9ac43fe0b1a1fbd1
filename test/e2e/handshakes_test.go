//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// shakes are handshakes after which a connection is no HTTP any more, as clients write them.
var shakes = []struct {
	name, head, then string
	greeting, echoed string
}{
	{
		name: "a WebSocket with a Content-Length",
		head: `GET /ws HTTP/1.1\r\nHost: HOST\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
			`Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n` +
			`Content-Length: 0\r\n\r\n`,
		then:     `\x81\x82\x00\x00\x00\x00hi`,      // a masked text frame, RFC 6455, section 5.2
		greeting: "HTTP/1.1 101 ", echoed: "\x02hi", // the byte before is no UTF-8
	},
	{
		name: "docker's attach",
		head: `POST /attach?stream=1 HTTP/1.1\r\nHost: HOST\r\nUpgrade: tcp\r\n` +
			`Connection: Upgrade\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n`,
		then:     `ls -l\n`,
		greeting: "HTTP/1.1 101 ", echoed: "ls -l\n",
	},
}

func TestUpgradesOfAnyMethod(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		for _, s := range shakes {
			got := app[tcpSaid](t, e.from, "deploy/client", "tcp",
				"-send", strings.ReplaceAll(s.head, "HOST", e.host("server")), "-then", s.then,
				e.host("server")+":80")
			if !strings.HasPrefix(got.Got, s.greeting) || !strings.HasSuffix(got.Got, s.echoed) {
				t.Errorf("%s: %+v", s.name, got)
			}
		}
	})
}

// nc with nothing to say ends its direction before it reads; the server greets all the same.
func TestAGreetingReachesWhoSaysNothing(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		got := app[tcpSaid](t, e.from, "deploy/client", "tcp", "-half", e.host("server")+":3306")
		if !strings.HasPrefix(got.Got, "220 ") || got.End != "eof" {
			t.Errorf("%+v", got)
		}
	})
}
