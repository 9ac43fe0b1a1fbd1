package forward

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/test/undrawn"
)

// The drawing in doc.go is what the code goes by.
func TestPhasesAreAsDrawn(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	check(t, err)
	got := map[string]string{}
	for line := range strings.Lines(string(doc)) {
		if from, to, ok := strings.Cut(strings.TrimPrefix(line, "//\t"), "→"); ok {
			got[strings.TrimSpace(from)] = strings.TrimSpace(to)
		}
	}
	for from, next := range drawn {
		want := strings.Trim(fmt.Sprint(next), "[]")
		if to := got[phase(from).String()]; strings.ReplaceAll(to, ",", "") != want {
			t.Errorf("%s is drawn to become %q, and becomes %q", phase(from), to, want)
		}
	}
	if len(got) != len(drawn) {
		t.Errorf("%d phases are drawn, of %d", len(got), len(drawn))
	}
}

// What is not drawn is told, and refused by every test.
func TestAnUndrawnTransitionIsRefused(t *testing.T) {
	p := newHarness(t)
	for from := range drawn {
		for to := range drawn {
			refused := false
			p.Log = slog.New(undrawn.Handler{Handler: slog.DiscardHandler, Message: Undrawn, Errorf: func(string, ...any) { refused = true }})
			x := &exchange{c: &ServerConn{f: p.Forwarder}, phase: phase(from)}
			x.enter(phase(to))
			if want := !phase(from).mayBecome(phase(to)); refused != want {
				t.Errorf("%s becomes %s: refused %v", phase(from), phase(to), refused)
			}
		}
	}
}
