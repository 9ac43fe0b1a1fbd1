package forward

import (
	"log/slog"
	"testing"

	"github.com/tulle-mesh/tulle/test/drawing"
	"github.com/tulle-mesh/tulle/test/undrawn"
)

// The drawing in doc.go is what the code goes by.
func TestPhasesAreAsDrawn(t *testing.T) {
	next := make([]uint8, len(drawn))
	for from, phases := range drawn {
		for _, to := range phases {
			next[from] |= 1 << to
		}
	}
	drawing.Holds(t, "An exchange's phases", phaseNames[:], next)
}

// What is not drawn is told, and refused by every test.
func TestAnUndrawnTransitionIsRefused(t *testing.T) {
	p := newHarness(t)
	for from := range drawn {
		for to := range drawn {
			refused := false
			p.Log = slog.New(undrawn.Handler{Handler: slog.DiscardHandler, Message: Undrawn,
				Errorf: func(string, ...any) { refused = true }})
			x := &exchange{c: &ServerConn{f: p.Forwarder}, phase: phase(from)}
			x.enter(phase(to))
			if want := !phase(from).mayBecome(phase(to)); refused != want {
				t.Errorf("%s becomes %s: refused %v", phase(from), phase(to), refused)
			}
		}
	}
}
