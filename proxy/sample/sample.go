// Package sample keeps a log readable, and its disk from filling, where strangers decide how often
// something is logged: of the records with one message it passes on the first, and then at most one
// a second, with the number of those left out. What matters in each single case is for a metric to
// count. It has no goroutines: the number of the last ones that were left out comes with the next
// record, whenever that is.
package sample

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// Interval is between two records with one message.
	Interval = time.Second
	// maxMessages: messages are constants of the program. If it has more, the rest is one.
	maxMessages = 64
	// omitted is the attribute that says how many records were left out before this one.
	omitted = "omitted"
)

// Logger returns a logger that passes on a sample of what it is told to log.
func Logger(log *slog.Logger) *slog.Logger {
	return slog.New(handler{log.Handler(), &messages{of: map[string]*message{}}})
}

// handler shares what it knows of its messages with those that are derived from it.
type handler struct {
	slog.Handler
	*messages
}

type messages struct {
	mu sync.Mutex // guards all of it
	of map[string]*message
}

type message struct {
	next time.Time // when one may be passed on again
	left int       // left out since the last that was passed on
}

func (h handler) WithAttrs(a []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(a), h.messages}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.Handler.WithGroup(name), h.messages}
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	left, due := h.take(r.Message, r.Time)
	if !due {
		return nil
	}
	if left > 0 {
		r = r.Clone() // the original's attributes are its owner's
		r.AddAttrs(slog.Int(omitted, left))
	}
	return h.Handler.Handle(ctx, r)
}

// take counts a record, and reports whether it is to be passed on, after how many that were not.
func (s *messages) take(text string, at time.Time) (left int, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of[text] == nil && len(s.of) >= maxMessages {
		text = ""
	}
	m := s.of[text]
	if m == nil {
		m = &message{}
		s.of[text] = m
	}
	if at.Before(m.next) {
		m.left++
		return 0, false
	}
	left, m.left, m.next = m.left, 0, at.Add(Interval)
	return left, true
}
