package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// RefuseUndrawn makes a test fail in which an exchange, or a connection of an engine's, goes on in a way that is not drawn.
// All logs of the tests' proxies go through it.
func RefuseUndrawn(t testing.TB, h slog.Handler) slog.Handler { return refuser{h, t.Errorf} }

type refuser struct {
	slog.Handler
	errorf func(string, ...any)
}

// Enabled: all levels, for how a connection ended is said at the lowest.
func (r refuser) Enabled(context.Context, slog.Level) bool { return true }

func (r refuser) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Message == undrawn {
		rec.Attrs(func(a slog.Attr) bool { r.errorf("%s: %s %v", undrawn, a.Key, a.Value); return true })
	}
	rec.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && (errors.Is(err, h1.ErrUndrawn) || errors.Is(err, h2.ErrUndrawn)) {
			r.errorf("%s: %v", rec.Message, err)
		}
		return true
	})
	if !r.Handler.Enabled(ctx, rec.Level) {
		return nil
	}
	return r.Handler.Handle(ctx, rec)
}

func (r refuser) WithAttrs(as []slog.Attr) slog.Handler {
	return refuser{r.Handler.WithAttrs(as), r.errorf}
}

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
	p := idleProxy(t)
	for from := range drawn {
		for to := range drawn {
			refused := false
			p.log = slog.New(refuser{slog.DiscardHandler, func(string, ...any) { refused = true }})
			x := &exchange{c: &serverConn{p: p}, phase: phase(from)}
			x.enter(phase(to))
			if want := !phase(from).mayBecome(phase(to)); refused != want {
				t.Errorf("%s becomes %s: refused %v", phase(from), phase(to), refused)
			}
		}
	}
}
