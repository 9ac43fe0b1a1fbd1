package h2

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
