package destination

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/time/rate"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// crowd opens n connections from an address that is not the other tests'.
func (s *server) crowd(t *testing.T, n int) (all []net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.2")}}
	for range n {
		c, err := d.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		all = append(all, c)
	}
	return all
}

// Sockets without a certificate, which say nothing, keep no proxy out.
func TestSilentSocketsDoNotShutTheDoor(t *testing.T) {
	limits := connectionLimits
	limits.Connections, limits.Handshakes = 16, 16
	s := startLimited(t, limits, cluster)
	close(s.gate.open)
	s.crowd(t, 3*limits.Connections)
	s.proxy(t)
}

// A workload's certificate that opens connections and asks nothing keeps nobody else out.
func TestIdleConnectionsDoNotShutTheDoor(t *testing.T) {
	limits := connectionLimits
	limits.Connections = 16
	s := startLimited(t, limits, cluster)
	close(s.gate.open)
	src := s.root.source(t, "spiffe://cluster.local/ns/shop/sa/greedy", "greedy-1")
	cfg := spiffe.ClientConfig(src, spiffeid.RequireFromString(serverID), []string{"h2"}, "")
	for _, c := range s.crowd(t, 2*limits.Connections) {
		if err := tls.Client(c, cfg).Handshake(); err != nil {
			t.Logf("a connection of the greedy one: %v", err)
		}
	}
	s.proxy(t)
}

// A large cluster is read for longer than a silent call may last. A proxy that has said Hello is
// not cut off meanwhile: all of them would come again, and again be cut off.
func TestWhoWaitsForTheSourceIsNotSilent(t *testing.T) {
	limits := connectionLimits
	limits.Ask = 100 * time.Millisecond
	s := startLimited(t, limits, cluster)
	time.AfterFunc(5*limits.Ask, func() { close(s.gate.open) })
	s.proxy(t)
}

// After a restart the last of 10,000 waits for its turn longer than a silent call may last. It is
// not silent: it has said Hello.
func TestWhoWaitsForItsTurnIsNotSilent(t *testing.T) {
	limits := connectionLimits
	limits.Ask = 100 * time.Millisecond
	s := startLimited(t, limits, cluster)
	s.admit.SetLimit(rate.Every(3 * limits.Ask))
	s.admit.SetBurst(1)
	s.admit.Allow() // the one turn that there is now
	close(s.gate.open)
	s.proxy(t)
}
