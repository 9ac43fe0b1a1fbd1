package record

import (
	"bytes"
	"io"
	"log/slog"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

var (
	fine   = func() *outcome.Record { return &outcome.Record{Method: "GET", Status: 200} }
	failed = func() *outcome.Record {
		return &outcome.Record{Method: "GET", Reason: outcome.NoRoute}
	}
)

// written has a log write what many records are, and returns how many lines are of which.
func written(
	t *testing.T, m *api.AccessLog, many int, records ...func() *outcome.Record,
) (well, unwell int, all string) {
	t.Helper()
	var out bytes.Buffer
	l := NewAccessLog(&out, slog.New(slog.DiscardHandler), new(metric.Counter))
	h := hook(t, l, m)
	for range many {
		for _, r := range records {
			h.End(r())
		}
		synctest.Wait() // the queue is empty
	}
	l.Close()
	all = out.String()
	unwell = strings.Count(all, "no_route")
	return strings.Count(all, `"GET"`) - unwell, unwell, all
}

// What goes well is sampled as exactly as can be; what does not is all there.
func TestASampleIsWhatWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			numerator, denominator uint32
			least, most            int
		}{{0, 0, 1000, 1000}, {0, 1, 0, 0}, {1, 1, 1000, 1000}, {1, 10, 99, 101}, {1, 100, 9, 11},
			{2, 3, 665, 668}} {
			ok, bad, _ := written(t, &api.AccessLog{Format: api.Format_FORMAT_JSON,
				SampleNumerator: tt.numerator, SampleDenominator: tt.denominator,
				LinesPerSecond: 10000}, 1000, fine, failed)
			if ok < tt.least || ok > tt.most || bad != 1000 {
				t.Errorf("%d in %d: %d that went well, %d that did not", tt.numerator,
					tt.denominator, ok, bad)
			}
		}
	})
}

func TestOnlyFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ok, bad, _ := written(t, &api.AccessLog{Format: api.Format_FORMAT_JSON,
			FailuresOnly: true}, 10, fine, failed)
		if ok != 0 || bad != 10 {
			t.Errorf("%d that went well, %d that did not", ok, bad)
		}
	})
}

// A flood of what goes well leaves what does not its lines, and the log says how many are missing.
func TestFailuresSurviveAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, format := range []api.Format{api.Format_FORMAT_JSON, api.Format_FORMAT_TEXT} {
			_, bad, all := written(t, &api.AccessLog{Format: format, LinesPerSecond: 20}, 15,
				fine, fine, fine, failed)
			missing, confessions := 0, missed.FindAllStringSubmatch(all, -1)
			for _, m := range confessions {
				n, _ := strconv.Atoi(m[1] + m[2])
				missing += n
			}
			lines := strings.Count(all, "\n") - len(confessions)
			if bad != 15 || lines != 15+20 || missing != 25 {
				t.Errorf("%d failures in %d lines, %d are missing:\n%s", bad, lines, missing, all)
			}
		}
	})
}

var missed = regexp.MustCompile(`"tulle.log.dropped":(\d+)|"(\d+) lines were dropped"`)

// stuck takes what is written when it is released.
type stuck struct {
	bytes.Buffer
	release chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.release
	return s.Buffer.Write(b)
}

// Behind a reader that is stuck there is room for what does not go well.
func TestFailuresFindRoomInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &stuck{release: make(chan struct{})}
		l := NewAccessLog(out, slog.New(slog.DiscardHandler), new(metric.Counter))
		h := hook(t, l, &api.AccessLog{Format: api.Format_FORMAT_JSON, LinesPerSecond: 10000})
		h.End(fine())
		synctest.Wait() // it is being written
		for range 2 * accessQueue {
			h.End(fine())
		}
		for range accessReserve {
			h.End(failed())
		}
		close(out.release)
		l.Close()
		if n := strings.Count(out.String(), "no_route"); n != accessReserve {
			t.Errorf("%d of %d failures have a line", n, accessReserve)
		}
	})
}

// After a flood there is room again, as fast as the bound says.
func TestABucketFillsAgain(t *testing.T) {
	b := bucket{every: time.Second / 10}
	took := func(at time.Duration) (n int) {
		for b.take(at) {
			n++
		}
		return n
	}
	for _, tt := range []struct {
		at   time.Duration
		want int
	}{{0, 10}, {50 * time.Millisecond, 0}, {100 * time.Millisecond, 1},
		{400 * time.Millisecond, 3}, {time.Hour, 10}} {
		if got := took(tt.at); got != tt.want {
			t.Errorf("at %v there are %d, want %d", tt.at, got, tt.want)
		}
	}
}

func TestWhatALogCannotBe(t *testing.T) {
	l := NewAccessLog(io.Discard, slog.New(slog.DiscardHandler), new(metric.Counter))
	defer l.Close()
	for _, m := range []*api.AccessLog{
		{Format: api.Format_FORMAT_UNSPECIFIED}, {Format: 99},
		{Format: api.Format_FORMAT_JSON, SampleNumerator: 2, SampleDenominator: 1},
		{Format: api.Format_FORMAT_JSON, SampleNumerator: 1},
		{Format: api.Format_FORMAT_TEXT, SampleDenominator: api.MaxLogSample + 1},
		{Format: api.Format_FORMAT_JSON, LinesPerSecond: api.MaxLogLines + 1},
	} {
		if h, err := l.Hook(m); h != nil || err == nil {
			t.Errorf("%v is %v, %v", m, h, err)
		}
	}
	for _, m := range []*api.AccessLog{nil, {Format: api.Format_FORMAT_NONE}} {
		if h, err := l.Hook(m); h != nil || err != nil {
			t.Errorf("%v is %v, %v", m, h, err)
		}
	}
	json := &api.AccessLog{Format: api.Format_FORMAT_JSON}
	if first, second := hook(t, l, json), hook(t, l, json); first != second {
		t.Error("the same word twice begins anew")
	}
}

// What a record costs those that carry requests, where most get no line, and the one who writes.
func BenchmarkRecord(b *testing.B) {
	head := func(w *outcome.Watch, t *outcome.Texts) *outcome.Record {
		r := w.Begin(time.Now())
		r.Asked(t, "GET", "/cart/items", "web.shop")
		r.Named(t, "curl/8", "b2f3c0de-0000-4000-8000-000000000000")
		return r
	}
	for name, m := range map[string]*api.AccessLog{
		"failures": {Format: api.Format_FORMAT_JSON, FailuresOnly: true},
		"percent": {Format: api.Format_FORMAT_JSON, SampleNumerator: 1,
			SampleDenominator: 100},
	} {
		b.Run(name, func(b *testing.B) {
			l := NewAccessLog(io.Discard, slog.New(slog.DiscardHandler), new(metric.Counter))
			defer l.Close()
			var w outcome.Watch
			var t outcome.Texts
			w.Set(hook(b, l, m))
			b.ReportAllocs()
			for b.Loop() {
				head(&w, &t).End(outcome.Request{Outcome: outcome.Answered})
			}
		})
	}
	for name, line := range map[string]func([]byte, *outcome.Record) []byte{
		"line/json": appendLine, "line/text": appendText,
	} {
		b.Run(name, func(b *testing.B) {
			var buf []byte
			r := request()
			b.ReportAllocs()
			for b.Loop() {
				buf = line(buf[:0], r)
			}
		})
	}
}
