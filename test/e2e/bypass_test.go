//go:build e2e

package e2e

import (
	"strings"
	"testing"
)

// meshed is what `app mesh` prints: a proxy's answer to somebody with an SVID who speaks the mesh's
// protocol by hand.
type meshed struct {
	Handshake, Status, Error, Body, End string

	Resumed bool
}

// From another pod nothing leads past the proxy, or through it to what is not the application's.
func TestBypassInPlaintext(t *testing.T) {
	ready(t)
	ip := ipOf(t, byCLI, podOf(t, byCLI, "app=server"))
	if a := call(t, without, "http://"+ip+":8080/"); a.Status != 200 {
		t.Fatalf("the control, the application's own port: %+v", a)
	}
	for name, port := range map[string]string{
		"the outbound port": "4140", "the inbound port itself": "4143",
		"a loopback-only port": "8089", "a port where nobody listens": "8099",
	} {
		t.Run(name, func(t *testing.T) {
			// With a Host that the outbound side would know how to reach, if it were asked.
			for _, flags := range [][]string{nil, {"-header", "Host: server." + byHook}, {"-h2c"}} {
				a := call(t, without, "http://"+ip+":"+port+"/", flags...)
				if a.Status == 200 || a.Echo.Pod != "" {
					t.Errorf("%v: it answered: %+v", flags, a)
				}
			}
			got := app[tcpSaid](t, without, "deploy/client", "tcp",
				"-send", `220 hello\r\n`, ip+":"+port)
			if strings.Contains(got.Got, "220") {
				t.Errorf("raw bytes came back: %+v", got)
			}
		})
	}
}

func TestBypassAdmin(t *testing.T) {
	ready(t)
	ip := ipOf(t, byCLI, podOf(t, byCLI, "app=server"))
	for _, from := range []string{without, byHook} {
		if a := call(t, from, "http://"+ip+":4191/live"); a.Status != 200 {
			t.Errorf("from %s, the control, /live: %+v", from, a)
		}
		for _, method := range []string{"POST", "PUT", "GET"} {
			for _, path := range []string{"/shutdown", "/log-level"} {
				a := call(t, from, "http://"+ip+":4191"+path, "-method", method, "-body", "debug")
				if a.Status < 400 {
					t.Errorf("from %s: %s %s was answered: %+v", from, method, path, a)
				}
			}
		}
	}
}

// A mesh peer names the port it wants; the proxy's own are not to be had, nor what listens on
// loopback only.
func TestBypassThroughTunnel(t *testing.T) {
	deployRogues(t)
	ip := ipOf(t, byCLI, podOf(t, byCLI, "app=server"))
	knock := func(t *testing.T, flags ...string) meshed {
		args := append([]string{"mesh", "-id", rogueID(), "-addr", ip + ":4143",
			"-peer", "spiffe://cluster.local/ns/" + byCLI + "/sa/server"}, flags...)
		return app[[]meshed](t, rogues, "deploy/client", args...)[0]
	}
	if m := knock(t); m.Status != "200" || !strings.Contains(m.Body, rogueID()) {
		t.Fatalf("the control, the application's own port: %+v", m)
	}
	for _, sni := range []string{
		"4140.tulle", "4143.tulle", "4191.tulle", "8089.tulle", "0.tulle", "8080.example", "tulle",
	} {
		for _, alpn := range []string{"tulle/h2", "tulle/tcp"} {
			t.Run(sni+" "+alpn, func(t *testing.T) {
				m := knock(t, "-sni", sni, "-alpn", alpn)
				if m.Status == "200" || strings.Contains(m.Body, `"pod"`) {
					t.Errorf("it answered: %+v", m)
				}
			})
		}
	}
	t.Run("the name of one port at another", func(t *testing.T) {
		if m := knock(t, "-addr", ip+":8081", "-sni", "8080.tulle"); m.Status == "200" {
			t.Errorf("it answered: %+v", m)
		}
	})
}

// The clients' pods declare no port and have no Service. What listens there is reached by dialing
// its own port, which a NetworkPolicy would see, in mTLS; and not by the proxy's inbound port.
func TestAPortThatNothingNamesIsDialedItself(t *testing.T) {
	deployRogues(t)
	ip := ipOf(t, byCLI, podOf(t, byCLI, "app=client"))
	a := call(t, byHook, "http://"+ip+":8080/")
	id := "spiffe://cluster.local/ns/" + byHook + "/sa/client"
	if a.Status != 200 || a.sent("Tulle-Client-Id") != id {
		t.Errorf("by its own port: %+v", a)
	}
	knock := func(port string) meshed {
		return app[[]meshed](t, rogues, "deploy/client", "mesh", "-id", rogueID(),
			"-addr", ip+":"+port, "-peer", "spiffe://cluster.local/ns/"+byCLI+"/sa/client")[0]
	}
	if m := knock("8080"); m.Status != "200" {
		t.Errorf("by its own port, by hand: %+v", m)
	}
	if m := knock("4143"); m.Status != "403" || !strings.Contains(m.Error, "containerPort") {
		t.Errorf("by the inbound port: %+v", m)
	}
}
