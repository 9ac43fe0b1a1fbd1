package h2

import (
	"fmt"
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
	names   []string
	drawn   []set
	// enter changes the state of a new connection from one to another, and says what it is then.
	enter func(c *Conn, from, to uint8) uint8
}

var machines = []machine{
	{"A stream's states", streamNames[:], streamDrawn[:], func(c *Conn, from, to uint8) uint8 {
		s := &Stream{c: c, state: streamState(from)}
		s.enterLocked(streamState(to))
		return uint8(s.state)
	}},
	{"How a connection starts", startNames[:], startDrawn[:], func(c *Conn, from, to uint8) uint8 {
		c.start = startState(from)
		c.enterStartLocked(startState(to))
		return uint8(c.start)
	}},
	{"How a connection ends", lifeNames[:], lifeDrawn[:], func(c *Conn, from, to uint8) uint8 {
		c.life = life(from)
		c.enterLifeLocked(life(to))
		if c.life == lifeFailed && c.fatal == ErrUndrawn {
			return from // it failed because of the refusal
		}
		return uint8(c.life)
	}},
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
			to, ok := drawn[m.names[from]]
			if !ok || !sameNames(strings.ReplaceAll(to, ",", ""), want) {
				t.Errorf("%s: %s is drawn to become %q, and may become %v",
					m.heading, m.names[from], to, want)
			}
		}
		if len(drawn) != len(m.drawn) || len(m.drawn) != len(m.names) {
			t.Errorf("%s: %d states are drawn, of %d", m.heading, len(drawn), len(m.drawn))
		}
	}
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
	c := NewServer(w, Options{})
	c.w.Lock()
	defer c.w.Unlock()
	is := m.enter(c, from, to)
	if m.drawn[from]>>to&1 != 0 {
		if is != to || c.fatal == ErrUndrawn {
			t.Errorf("it is drawn, and refused: %s, %v", m.names[is], c.fatal)
		}
		return
	}
	if is != from || c.fatal != ErrUndrawn && c.life != lifeOver {
		t.Errorf("it is not drawn, and became %s: %v", m.names[is], c.fatal)
	}
}
