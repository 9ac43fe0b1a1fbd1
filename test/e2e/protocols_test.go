//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// edge is a caller's namespace and a server's.
type edge struct{ from, to string }

func (e edge) meshed() bool { return e.from != without && e.to != without }

// identity is what the application is told of its caller: nothing, unless it was proven.
func (e edge) identity() string {
	if !e.meshed() {
		return ""
	}
	return "spiffe://cluster.local/ns/" + e.from + "/sa/client"
}

func (e edge) host(service string) string { return service + "." + e.to + ".svc." + *domain }

// overEdges runs a test over every kind of edge.
func overEdges(t *testing.T, test func(t *testing.T, e edge)) {
	t.Helper()
	ready(t)
	for _, e := range []edge{{byCLI, byHook}, {byHook, byCLI}, {without, byCLI}, {byCLI, without}} {
		t.Run(e.from+"→"+e.to, func(t *testing.T) { test(t, e) })
	}
}

func TestProtocolHTTP(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		for _, flags := range [][]string{
			{"-method", "POST", "-body", "hello"}, {"-method", "POST", "-body", "hello", "-h2c"},
		} {
			a := call(t, e.from, "http://"+e.host("server")+"/some/path", flags...)
			if a.Status != 200 || a.Error != "" || a.Echo.Body != "hello" ||
				a.Echo.Path != "/some/path" || a.Echo.Host != e.host("server") {
				t.Errorf("%v: %+v", flags, a)
			}
			if a.Proto != a.Echo.Proto {
				t.Errorf("%v: asked with %s, the application was asked with %s",
					flags, a.Proto, a.Echo.Proto)
			}
			if got := a.sent("Tulle-Client-Id"); got != e.identity() {
				t.Errorf("%v: the application sees the caller %q, want %q",
					flags, got, e.identity())
			}
		}
	})
}

func TestProtocolWebSocket(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		got := app[map[string]any](t, e.from, "deploy/client", "ws", "ws://"+e.host("server")+"/ws")
		if got["echoed"] != 50.0 || got["error"] != nil {
			t.Errorf("%v", got)
		}
	})
}

func TestProtocolGRPC(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		got := app[map[string][]string](t, e.from, "deploy/client", "grpc",
			e.host("server")+":8081")
		if len(got["passed"]) != 14 {
			t.Errorf("passed: %v", got)
		}
	})
}

func TestProtocolRedis(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		got := app[map[string]any](t, e.from, "deploy/client", "redis", e.host("redis")+":6379")
		if got["ok"] != true {
			t.Errorf("%v", got)
		}
	})
}

// tcpSaid is what `app tcp` prints.
type tcpSaid struct {
	Dialed   bool
	Got, End string
}

func TestProtocolServerFirst(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		got := app[tcpSaid](t, e.from, "deploy/client", "tcp", "-first", "-send", `hello\n`,
			e.host("server")+":3306")
		want := fmt.Sprintf("220 %s\nhello\n", podOf(t, e.to, "app=server"))
		if got.Got != want {
			t.Errorf("%+v, want %q", got, want)
		}
	})
}

// What meshctl shows of these edges: both identities, and that they are encrypted.
func TestEdgesAreSecured(t *testing.T) {
	ready(t)
	eventually(t, 30e9, func() error {
		call(t, byCLI, "http://server."+byHook+"/")
		out, err := try("", "meshctl", "viz", "edges", "deploy", "-n", byHook, "-o", "json")
		if err != nil {
			return err
		}
		for _, want := range []string{
			"spiffe://cluster.local/ns/" + byCLI + "/sa/client",
			"spiffe://cluster.local/ns/" + byHook + "/sa/server",
		} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %s in %s", want, out)
			}
		}
		return nil
	})
}
