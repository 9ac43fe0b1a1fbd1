package admin

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// maxPassing bounds for how long a level may be set.
const maxPassing = 24 * time.Hour

// passing is a log level that was set for a while.
type passing struct {
	mu    sync.Mutex // guards what follows
	timer *time.Timer
	set   slog.Level // by whom the timer is
	back  slog.Level // what it falls back to
	until time.Time  // zero: there is none
}

func (s *Server) level(x *request) { x.text(200, s.levelText()) }

// levelText is "debug", or "debug for 4m59s, then info".
func (s *Server) levelText() string {
	p := &s.passing
	p.mu.Lock()
	defer p.mu.Unlock()
	now := nameOf(s.o.Level.Level())
	if p.until.IsZero() || s.o.Level.Level() != p.set {
		return now
	}
	return fmt.Sprintf("%s for %s, then %s", now, time.Until(p.until).Round(time.Second),
		nameOf(p.back))
}

func nameOf(l slog.Level) string { return strings.ToLower(l.String()) }

// setLevel takes a level, or a level and for how long it is to be: "debug 5m".
func (s *Server) setLevel(x *request) {
	if len(x.body) > maxBody {
		x.text(413, "the body must be the name of a level")
		return
	}
	name, length, passes := strings.Cut(strings.TrimSpace(string(x.body)), " ")
	level, ok := levelOf(name)
	if !ok {
		x.text(400, fmt.Sprintf("unknown level %q: send debug, info, warn or error", name))
		return
	}
	var d time.Duration
	if passes {
		var err error
		if d, err = time.ParseDuration(strings.TrimSpace(length)); err != nil || d <= 0 ||
			d > maxPassing {
			x.text(400, fmt.Sprintf("%q is no time: send for example 'debug 5m', up to %s", length,
				maxPassing))
			return
		}
	}
	s.pass(level, d)
	s.o.Log.Info("log level changed on the admin port", "level", level, "for", d, "peer", x.c.peer)
	s.level(x)
}

// pass sets the level, for a while unless that is 0. Of several in a row the first one says what
// the last falls back to.
func (s *Server) pass(level slog.Level, d time.Duration) {
	p := &s.passing
	p.mu.Lock()
	defer p.mu.Unlock()
	now := s.o.Level.Level()
	if p.timer != nil {
		p.timer.Stop()
	}
	if p.until.IsZero() || now != p.set {
		p.back = now
	}
	p.set, p.until = level, time.Time{}
	s.o.Level.Set(level)
	if d == 0 {
		return
	}
	until := time.Now().Add(d)
	p.until = until
	p.timer = time.AfterFunc(d, func() { s.fallBack(until) })
}

// fallBack ends a level that was set for a while, unless somebody has said another one since: the
// last word counts.
func (s *Server) fallBack(until time.Time) {
	p := &s.passing
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until != until {
		return
	}
	p.until = time.Time{}
	if s.o.Level.Level() == p.set {
		s.o.Level.Set(p.back)
		s.o.Log.Info("log level falls back: its time is over", "level", p.back)
	}
}

// endPassing is for the server's end.
func (s *Server) endPassing() {
	p := &s.passing
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timer != nil {
		p.timer.Stop()
	}
}

// levelOf takes the four names only: slog's own parser also takes "info+3".
func levelOf(name string) (slog.Level, bool) {
	all := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	for _, l := range all {
		if strings.EqualFold(name, l.String()) {
			return l, true
		}
	}
	return 0, false
}
