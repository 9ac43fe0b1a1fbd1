package h1

import (
	"fmt"
	"math/bits"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// drawing is what doc.go draws under a heading: what follows each state.
func drawing(t *testing.T, heading string) map[string]string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "// # "+heading+"\n")
	if !found {
		t.Fatalf("doc.go has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "// # ")
	drawn := map[string]string{}
	for line := range strings.Lines(section) {
		if from, to, ok := strings.Cut(strings.TrimPrefix(line, "//\t"), "→"); ok {
			drawn[strings.TrimSpace(from)] = strings.TrimSpace(to)
		}
	}
	return drawn
}

// machine is a table of states, for a test of the table itself.
type machine struct {
	heading string
	client  bool
	names   []string
	drawn   []set
	// enter changes the state of a new connection from one to another, and says what it is then.
	enter func(c *Conn, from, to uint8) uint8
}

var machines = []machine{
	{"A server's reader", false, phaseNames[:], serverPhases[:], enterPhase},
	{"A client's reader", true, phaseNames[:], clientPhases[:], enterPhase},
	{"A server's exchange", false, streamNames[:], serverStreams[:], enterStream},
	{"A client's exchange", true, streamNames[:], clientStreams[:], enterStream},
	{"How a connection ends", false, lifeNames[:], lifeDrawn[:], enterLife},
}

func enterPhase(c *Conn, from, to uint8) uint8 {
	c.phase = phase(from)
	c.enter(phase(to))
	return uint8(c.phase)
}

func enterStream(c *Conn, from, to uint8) uint8 {
	c.w.Lock()
	defer c.w.Unlock()
	s := &Stream{c: c, state: streamState(from)}
	s.enterLocked(streamState(to))
	return uint8(s.state)
}

func enterLife(c *Conn, from, to uint8) uint8 {
	c.w.Lock()
	defer c.w.Unlock()
	c.life = life(from)
	c.enterLifeLocked(life(to))
	if c.life == lifeFailed && c.failure == ErrUndrawn {
		return from // it failed because of the refusal
	}
	return uint8(c.life)
}

// The drawings in doc.go are what the code goes by.
func TestStatesAreAsDrawn(t *testing.T) {
	for _, m := range machines {
		drawn := drawing(t, m.heading)
		for from, next := range m.drawn {
			var want []string
			for to := range m.drawn {
				if next>>to&1 != 0 {
					want = append(want, m.names[to])
				}
			}
			to := strings.ReplaceAll(drawn[m.names[from]], ",", "")
			if !sameNames(to, want) {
				t.Errorf("%s: %s is drawn to become %q, and may become %v",
					m.heading, m.names[from], to, want)
			}
		}
		if n := reachable(m); len(drawn) != n {
			t.Errorf("%s: %d states are drawn, of %d", m.heading, len(drawn), n)
		}
	}
}

// reachable is how many states can be, from the first one on.
func reachable(m machine) (n int) {
	all := set(1)
	for range m.drawn {
		for from, next := range m.drawn {
			if all>>from&1 != 0 {
				all |= next
			}
		}
	}
	return bits.OnesCount8(uint8(all))
}

func sameNames(list string, names []string) bool {
	got := map[string]bool{}
	for _, n := range strings.Fields(list) {
		got[n] = true
	}
	for _, n := range names {
		if !got[n] {
			return false
		}
	}
	return len(got) == len(names)
}

// A change that is not drawn does not happen, and ends the connection.
func TestAnUndrawnChangeIsRefused(t *testing.T) {
	for _, m := range machines {
		for from := range m.drawn {
			for to := range m.drawn {
				t.Run(fmt.Sprintf("%s/%s to %s", m.heading, m.names[from], m.names[to]),
					func(t *testing.T) { refusesUndrawn(t, m, uint8(from), uint8(to)) })
			}
		}
	}
}

func refusesUndrawn(t *testing.T, m machine, from, to uint8) {
	near, far := net.Pipe()
	defer far.Close()
	w := wire.New(near, nil)
	defer w.Close()
	c := newConn(w, Options{}, m.client)
	is := m.enter(c, from, to)
	if m.drawn[from]>>to&1 != 0 {
		if is != to || c.failure == ErrUndrawn {
			t.Errorf("it is drawn, and refused: %s, %v", m.names[is], c.failure)
		}
		return
	}
	if is != from || c.failure != ErrUndrawn {
		t.Errorf("it is not drawn, and became %s: %v", m.names[is], c.failure)
	}
}
