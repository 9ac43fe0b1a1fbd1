package forward

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"golang.org/x/net/http2/hpack"
)

// mirror is a copy of a request on its way to one endpoint. Whoever made the request never hears of
// it: it is tried once, its answer is thrown away, it has connections of its own, and where its
// backend is slower than the request's it is held up to a bound, and then given up. It does not
// know its exchange, which ends when it wants to.
//
// Events come from its backend's reader, its pool, the timer wheel, and with the exchange's lock
// held from whoever has a part of the request.
type mirror struct {
	f        *Forwarder
	owner    *ServerConn
	cluster  *balance.Cluster
	endpoint *balance.Endpoint
	pool     *pool
	next     *mirror          // of the same request
	later    *discover.Answer // of a mirror that is no copy: see mirrorLater

	mu       sync.Mutex // guards everything below; taken after an exchange's, before a pool's
	over     bool
	conn     *clientConn
	up       stream // nil: it waits for a connection
	sent     time.Time
	seen     *outcome.Record     // for its span; nil: it has none
	fields   []hpack.HeaderField // the head, until it is sent
	body     []byte              // what came of the body until then
	trailers []hpack.HeaderField
	size     int  // of the body so far
	end      bool // of the request
	held     int  // bytes that have not left
	failed   bool // the answer says so
	sampled  bool // the latency was taken, and pending given back
	timer    timer.Timer
	due      time.Time // timer's; zero: it is disarmed

	http2 h2.Stream // up's memory, if it is one
}

// mirrors is what the copies of a proxy come to, and what became of them.
type mirrors struct {
	underWay atomic.Int64
	held     atomic.Int64 // bytes

	answered  *metric.Counter
	failed    *metric.Counter // an answer that is a failure, a connection that breaks, or none
	slow      *metric.Counter // it would have held more than it may
	timeout   *metric.Counter // no connection or no answer in time
	cancelled *metric.Counter // the request ended before all of it had come
	crowded   *metric.Counter // there were too many, or there was no memory
	nowhere   *metric.Counter // the cluster has no endpoint
}

func (l *mirrors) resolve(r *metric.Registry) {
	for why, into := range map[string]**metric.Counter{
		"answered": &l.answered, "failed": &l.failed, "slow": &l.slow, "timeout": &l.timeout,
		"cancelled": &l.cancelled, "crowded": &l.crowded, "no_endpoint": &l.nowhere,
	} {
		*into = r.Counter(metric.Mirrored, why)
	}
}

// takesPlace counts one more, unless there are as many as there may be.
func (l *mirrors) takesPlace(most int) bool {
	if l.underWay.Add(1) > int64(most) {
		l.underWay.Add(-1)
		return false
	}
	return true
}

// mirror sends the copies that the route wants of a request: once, however often it is tried. What
// asks for a tunnel is not copied, for a conversation has two ends.
func (x *exchange) mirror(a *discover.Answer, b *batch) {
	if x.tunnel {
		return
	}
	for _, m := range x.rule.Mirrors {
		if m.Takes() {
			x.copyTo(a.Members[m.Index], nil, b)
		}
	}
	for _, m := range x.backend.Mirrors {
		if m.Takes() {
			x.copyTo(a.Members[m.Index], x.backend.Filters, b)
		}
	}
}

// mirrorLater has a request copied once it goes on, for it is held back. Until then a mirror that
// is over, which nothing happens to, stands for the copies: the request may yet be given up.
func (x *exchange) mirrorLater(a *discover.Answer) {
	if len(x.rule.Mirrors)+len(x.backend.Mirrors) > 0 {
		x.mirrors = &mirror{over: true, later: a}
	}
}

// mirrorNow sends the copies that mirrorLater put off, by the route that the request goes by.
func (x *exchange) mirrorNow(b *batch) {
	if put := x.mirrors; put != nil {
		x.mirrors = nil
		x.mirror(put.later, b)
	}
}

// copyTo sends a copy to an endpoint of c, as its rule's filters and some more make it. Of the body
// it has what came so far.
func (x *exchange) copyTo(c *balance.Cluster, edits []route.Filter, b *batch) {
	f, set := x.c.f, c.Current()
	switch {
	case set == nil || len(set.All) == 0:
		f.mirrors.nowhere.Inc()
		return
	case f.tight(b.time()) || !f.mirrors.takesPlace(f.Limits.Mirrors.Max):
		f.mirrors.crowded.Inc()
		return
	}
	e := set.Pick(balance.Key{Now: b.time()})
	k := x.kindFor(e)
	fields := route.Edit(x.rule.Filters, false, slices.Clone(x.req))
	fields = x.spokenTo(route.Edit(edits, false, fields), e, k)
	m := &mirror{
		f: f, owner: x.c, cluster: c, endpoint: e, pool: transportOf(e).pools.forCopies(k, f, e),
		next: x.mirrors, fields: fields, end: x.reqEnd,
		body: slices.Clone(x.body), size: len(x.body), trailers: x.trailers,
	}
	x.traceCopy(m, b)
	x.mirrors = m
	m.begin(b)
}

func (m *mirror) begin(b *batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endpoint.Begin()
	if !m.holdLocked(weightOf(m.fields) + len(m.body)) {
		m.endLocked(m.f.mirrors.crowded)
		return
	}
	switch m.pool.open(m, b) {
	case queued:
		m.armLocked(m.f.Limits.DiscoveryWait)
	case refused:
		m.endLocked(m.f.mirrors.crowded)
	case unsendable:
		m.endLocked(m.f.mirrors.failed)
	case endpointLeft:
		m.endLocked(m.f.mirrors.nowhere)
	}
}

// holdLocked notes n bytes more that have not left, or less. It is false if that is too much.
func (m *mirror) holdLocked(n int) bool {
	m.held += n
	all := m.f.mirrors.held.Add(int64(n))
	return n <= 0 ||
		m.held <= m.f.Limits.Mirrors.Held && all <= int64(m.f.Limits.Mirrors.AllHeld)
}

// Owner is the caller's connection, as a try's is.
func (m *mirror) Owner() any { return m.owner }

func (m *mirror) head(*batch) []hpack.HeaderField { return m.fields }
func (m *mirror) memory() *h2.Stream              { return &m.http2 }
func (m *mirror) tunnels() bool                   { return false }

// mayWait: mirrors have bounds of their own, and take no place of the cluster's.
func (m *mirror) mayWait() bool { return true }

func (m *mirror) headOnly() bool {
	return m.end && m.trailers == nil && m.size == 0
}

// opened is called by the pool with mu held: what came so far follows the head.
func (m *mirror) opened(conn *clientConn, up stream, b *batch) {
	m.conn, m.up, m.sent = conn, up, b.time()
	left := weightOf(m.fields)
	if m.size > 0 {
		left += up.WriteData(m.body, m.end && m.trailers == nil)
	}
	if m.trailers != nil {
		up.WriteHeaders(m.trailers, true)
	}
	m.fields, m.body = nil, nil
	m.holdLocked(-left)
	m.awaitLocked()
	b.touch(up)
}

// openQueued opens a mirror that was queued; false: there was no room after all.
func (m *mirror) openQueued(b *batch) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over || m.up != nil {
		return true
	}
	switch m.pool.openNext(m, b) {
	case queued:
		return false
	case unsendable:
		m.endLocked(m.f.mirrors.failed)
	case endpointLeft:
		m.endLocked(m.f.mirrors.nowhere)
	}
	return true
}

func (m *mirror) undelivered(outcome.Reason, string, *batch) { m.lost(m.f.mirrors.failed) }
func (m *mirror) stranded(*batch)                            { m.lost(m.f.mirrors.nowhere) }

// lost ends what has no connection, and is in no queue any more.
func (m *mirror) lost(why *metric.Counter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.up == nil {
		m.endLocked(why)
	}
}

// data takes a piece of the body for m and all that are next.
func (m *mirror) data(p []byte, end bool, b *batch) {
	for ; m != nil; m = m.next {
		m.takeData(p, end, b)
	}
}

func (m *mirror) takeData(p []byte, end bool, b *batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	m.size += len(p)
	m.end = m.end || end
	left := 0
	if m.up == nil {
		m.body = append(m.body, p...)
	} else {
		left = m.up.WriteData(p, end)
		b.touch(m.up)
	}
	if !m.holdLocked(len(p) - left) {
		m.cutLocked(m.f.mirrors.slow, b)
		return
	}
	m.awaitLocked()
}

// trail takes the request's trailers, for m and all that are next.
func (m *mirror) trail(trailers []hpack.HeaderField, b *batch) {
	for ; m != nil; m = m.next {
		m.takeTrailers(trailers, b)
	}
}

func (m *mirror) takeTrailers(trailers []hpack.HeaderField, b *batch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	m.trailers, m.end = trailers, true
	if m.up != nil {
		m.up.WriteHeaders(trailers, true)
		b.touch(m.up)
	}
	m.awaitLocked()
}

// leave tells m and all that are next that the request has ended. Those that have not got all of it
// never will.
func (m *mirror) leave(whole bool, b *batch) {
	for ; m != nil && !whole; m = m.next {
		m.mu.Lock()
		m.cutLocked(m.f.mirrors.cancelled, b)
		m.mu.Unlock()
	}
}

// OnHeaders takes an informational head, the answer's head, or its trailers.
func (m *mirror) OnHeaders(fields []hpack.HeaderField, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	status, _ := strconv.Atoi(header.Value(fields, ":status")) // trailers have none
	if m.over || status >= 100 && status < 200 {
		return
	}
	called := header.Value(fields, "grpc-status")
	m.failed = m.failed || status >= 500 || grpcFailure(called)
	if status >= 200 {
		m.seen.Answered(status, m.conn.batch.time())
	}
	if called != "" {
		m.seen.GRPC(called)
	}
	if end {
		m.answeredLocked()
	}
}

// OnData throws a piece of the answer away.
func (m *mirror) OnData(p []byte, end bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	b := &m.conn.batch
	m.up.Consumed(len(p))
	b.touch(m.up)
	m.sampleLocked(b.time())
	if end {
		m.answeredLocked()
	}
}

// OnReset: it is over without an end.
func (m *mirror) OnReset(uint32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	m.failed = true
	m.sampleLocked(m.conn.batch.time())
	m.endLocked(m.f.mirrors.failed)
}

// OnSent: n bytes that were held have left.
func (m *mirror) OnSent(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over {
		m.holdLocked(-n)
	}
}

// answeredLocked: the answer has ended. The backend wants no more of the request.
func (m *mirror) answeredLocked() {
	b := &m.conn.batch
	if !m.end || m.held > 0 {
		m.up.Reset(h2.CodeNone)
		b.touch(m.up)
	}
	m.sampleLocked(b.time())
	if m.failed {
		m.endLocked(m.f.mirrors.failed)
		return
	}
	m.endLocked(m.f.mirrors.answered)
}

// sampleLocked takes the latency, once: it says as much of the endpoint as a request's would.
func (m *mirror) sampleLocked(now time.Time) {
	if m.sampled {
		return
	}
	m.sampled = true
	m.endpoint.Done()
	took, params := now.Sub(m.sent), m.cluster.Current().Params
	if m.failed {
		m.endpoint.Failed(took, params, now)
		return
	}
	m.endpoint.Observe(took, params, now)
}

// awaitLocked bounds how long the answer to all of a request may take. While more of it may come
// its caller is bounded, and while there is no connection the wait for one is.
func (m *mirror) awaitLocked() {
	switch {
	case m.up == nil:
	case m.end:
		m.armLocked(m.f.Limits.Mirrors.Timeout)
	case !m.due.IsZero():
		m.due = time.Time{}
		m.f.Wheel.Disarm(&m.timer)
	}
}

func (m *mirror) armLocked(d time.Duration) {
	m.due = time.Now().Add(d)
	m.f.Wheel.Arm(&m.timer, d, m)
}

// Expired is its timer, unless it was disarmed or armed anew since it fired.
func (m *mirror) Expired(*timer.Timer) {
	var b batch
	m.mu.Lock()
	if !m.due.IsZero() && !time.Now().Before(m.due) {
		m.cutLocked(m.f.mirrors.timeout, &b)
	}
	m.mu.Unlock()
	b.flush()
}

// cutLocked gives it up, wherever it is.
func (m *mirror) cutLocked(why *metric.Counter, b *batch) {
	switch {
	case m.over:
	case m.up == nil:
		m.pool.cancel(m)
	default:
		m.up.Reset(h2.CodeCancel)
		b.touch(m.up)
	}
	m.endLocked(why)
}

// endLocked counts what became of it, once, and gives back what it has.
func (m *mirror) endLocked(why *metric.Counter) {
	if m.over {
		return
	}
	m.over = true
	why.Inc()
	m.showLocked(why)
	m.due = time.Time{}
	m.f.Wheel.Disarm(&m.timer)
	if !m.sampled {
		m.endpoint.Done()
	}
	m.holdLocked(-m.held)
	m.f.mirrors.underWay.Add(-1)
	m.fields, m.body, m.trailers = nil, nil, nil
}
