// Package undrawn makes a test fail in which something goes on in a way that its package's
// documentation does not draw: a request's phases in package forward, or an engine's connection.
// The logs of the tests' proxies go through it. It has no goroutines.
package undrawn

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// Refuse passes records on to h. One whose message is of an undrawn transition is an error of t,
// and so is one that says an engine's connection ended for it.
func Refuse(t testing.TB, h slog.Handler, message string) slog.Handler {
	return Handler{h, message, t.Errorf}
}

// Handler tells Errorf of every record with Message, and of every engine's ErrUndrawn.
type Handler struct {
	slog.Handler
	Message string
	Errorf  func(string, ...any)
}

// Enabled lets every level through, for how a connection ended is said at the lowest.
func (r Handler) Enabled(context.Context, slog.Level) bool { return true }

// Handle looks for transitions.
func (r Handler) Handle(ctx context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		err, failed := a.Value.Any().(error)
		if rec.Message == r.Message ||
			failed && (errors.Is(err, h1.ErrUndrawn) || errors.Is(err, h2.ErrUndrawn)) {
			r.Errorf("%s: %s %v", rec.Message, a.Key, a.Value)
		}
		return true
	})
	if !r.Handler.Enabled(ctx, rec.Level) {
		return nil
	}
	return r.Handler.Handle(ctx, rec)
}

// WithAttrs keeps telling.
func (r Handler) WithAttrs(as []slog.Attr) slog.Handler {
	return Handler{r.Handler.WithAttrs(as), r.Message, r.Errorf}
}
