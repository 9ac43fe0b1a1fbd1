package h1

import (
	"fmt"
	"net"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/drawing"
)

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
		drawing.Holds(t, m.heading, m.names, m.drawn)
	}
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
