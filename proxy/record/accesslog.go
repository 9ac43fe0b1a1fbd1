package record

import (
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	destination "github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

const (
	// accessQueue is how many records may wait to be written: some 2 MiB of the longest texts that
	// peers can send, and a tenth of a second of a busy proxy's.
	accessQueue = 1024
	// accessReserve of them are for what does not go plainly well.
	accessReserve = accessQueue / 4
	// accessBatch is about how many bytes are written at once.
	accessBatch = 32 << 10
	// accessFlush is how long the end of the process may wait for whoever reads the log.
	accessFlush = time.Second
	// accessGap is between two lines that say how many were dropped, at least.
	accessGap = time.Second
)

// AccessLog writes a line for each record that its hook is given, and that a rule wants. Its one
// goroutine begins with the first Hook, and ends in Close. Whoever reads the lines may be slow or
// stuck: what does not fit into the queue meanwhile is dropped and counted, as is what is beyond
// the lines of a second, and no request waits. A line says how many were.
type AccessLog struct {
	out     io.Writer
	log     *slog.Logger
	dropped *metric.Counter
	queue   chan entry
	unsaid  atomic.Uint64 // of those dropped, how many no line has told of

	rule rule // of hook; whoever configures asks for one after the other
	hook *outcome.Hook

	once       sync.Once // starts the goroutine
	stop, done chan struct{}
	// The goroutine's: whether the last write failed, the form of the last line, and when one last
	// said how many were dropped.
	failing, text bool
	said          time.Time
}

// entry is a record that is to be written, in one form or the other.
type entry struct {
	*outcome.Record
	text bool
}

// NewAccessLog makes a log that nobody hears yet.
func NewAccessLog(out io.Writer, log *slog.Logger, dropped *metric.Counter) *AccessLog {
	return &AccessLog{out: out, log: log, dropped: dropped, stop: make(chan struct{}),
		done: make(chan struct{})}
}

// Hook is what is to hear of requests while the log is as it is told; nil: it is off. It is an
// error to be told what is not known.
func (l *AccessLog) Hook(m *destination.AccessLog) (*outcome.Hook, error) {
	next, on, err := parseRule(m)
	if err != nil || !on {
		return nil, err
	}
	l.once.Do(func() {
		l.queue = make(chan entry, accessQueue)
		go l.run()
	})
	if l.hook == nil || l.rule != next {
		s := newSelection(next)
		l.rule, l.hook = next, &outcome.Hook{End: func(r *outcome.Record) { l.take(s, r) }}
	}
	return l.hook, nil
}

func (l *AccessLog) take(s *selection, r *outcome.Record) {
	bad := unwell(r)
	wanted, room := s.take(bad)
	if !wanted {
		return
	}
	if room && (bad || len(l.queue) < accessQueue-accessReserve) {
		select {
		case l.queue <- entry{r, s.text}:
			return
		default:
		}
	}
	l.drop(1)
}

func (l *AccessLog) drop(n uint64) {
	l.dropped.Add(n)
	l.unsaid.Add(n)
}

func (l *AccessLog) run() {
	defer close(l.done)
	var b []byte
	for {
		select {
		case r := <-l.queue:
			b = l.write(l.confess(b[:0], accessGap), r)
		case <-l.stop:
			for len(l.queue) > 0 {
				b = l.write(b[:0], <-l.queue)
			}
			l.flush(l.confess(b[:0], 0), 0)
			return
		}
	}
}

// confess appends a line that says how many were dropped, unless the last one is younger than gap.
func (l *AccessLog) confess(b []byte, gap time.Duration) []byte {
	now := time.Now()
	if l.unsaid.Load() == 0 || now.Sub(l.said) < gap {
		return b
	}
	l.said = now
	return appendDropped(b, now, l.unsaid.Swap(0), l.text)
}

// write writes a record, and those that wait behind it, after what is in b, into b's memory.
func (l *AccessLog) write(b []byte, e entry) []byte {
	b = l.append(b, e)
	n := uint64(1)
	for len(l.queue) > 0 && len(b) < accessBatch {
		b = l.append(b, <-l.queue)
		n++
	}
	l.flush(b, n)
	return b
}

func (l *AccessLog) append(b []byte, e entry) []byte {
	if l.text = e.text; e.text {
		return appendText(b, e.Record)
	}
	return appendLine(b, e.Record)
}

// flush writes n records.
func (l *AccessLog) flush(b []byte, n uint64) {
	if len(b) == 0 {
		return
	}
	_, err := l.out.Write(b)
	if err != nil {
		l.drop(n)
	}
	if err != nil && !l.failing {
		l.log.Error("cannot write the access log", "err", err)
	}
	l.failing = err != nil
}

// Close writes what waits, when no record will come any more. A reader that is stuck is waited for
// no longer than accessFlush: then the write ends with the process.
func (l *AccessLog) Close() {
	l.once.Do(func() { close(l.done) })
	close(l.stop)
	select {
	case <-l.done:
	case <-time.After(accessFlush):
		l.log.Warn("nobody reads the access log: its end is lost", "lines", len(l.queue))
	}
}
