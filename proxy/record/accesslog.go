package record

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

const (
	// accessQueue is how many records may wait to be written: some 2 MiB of the longest texts that
	// peers can send, and a tenth of a second of a busy proxy's.
	accessQueue = 1024
	// accessBatch is about how many bytes are written at once.
	accessBatch = 32 << 10
	// accessFlush is how long the end of the process may wait for whoever reads the log.
	accessFlush = time.Second
)

// AccessLog writes a line for each record that its hook is given. Its one goroutine begins with the
// first Hook, and ends in Close. Whoever reads the lines may be slow or stuck: what does not fit
// into the queue meanwhile is dropped and counted, and no request waits.
type AccessLog struct {
	out     io.Writer
	log     *slog.Logger
	dropped *metric.Counter
	hook    *outcome.Hook
	queue   chan *outcome.Record

	once       sync.Once // starts the goroutine
	stop, done chan struct{}
	failing    bool // the last write did; the goroutine's
}

// NewAccessLog makes a log that nobody hears yet.
func NewAccessLog(out io.Writer, log *slog.Logger, dropped *metric.Counter) *AccessLog {
	l := &AccessLog{out: out, log: log, dropped: dropped, stop: make(chan struct{}),
		done: make(chan struct{})}
	l.hook = &outcome.Hook{End: l.take}
	return l
}

// Hook is what is to hear of requests while the log is on.
func (l *AccessLog) Hook() *outcome.Hook {
	l.once.Do(func() {
		l.queue = make(chan *outcome.Record, accessQueue)
		go l.run()
	})
	return l.hook
}

func (l *AccessLog) take(r *outcome.Record) {
	select {
	case l.queue <- r:
	default:
		l.dropped.Inc()
	}
}

func (l *AccessLog) run() {
	defer close(l.done)
	var b []byte
	for {
		select {
		case r := <-l.queue:
			b = l.write(b, r)
		case <-l.stop:
			for len(l.queue) > 0 {
				b = l.write(b, <-l.queue)
			}
			return
		}
	}
}

// write writes a record, and those that wait behind it, into b's memory.
func (l *AccessLog) write(b []byte, r *outcome.Record) []byte {
	b = appendLine(b[:0], r)
	n := uint64(1)
	for len(l.queue) > 0 && len(b) < accessBatch {
		b = appendLine(b, <-l.queue)
		n++
	}
	_, err := l.out.Write(b)
	if err != nil {
		l.dropped.Add(n)
	}
	if err != nil && !l.failing {
		l.log.Error("cannot write the access log", "err", err)
	}
	l.failing = err != nil
	return b
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
