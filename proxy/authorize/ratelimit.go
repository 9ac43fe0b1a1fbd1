package authorize

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
)

// Limits are a port's rate limits, and their buckets. Use CompileLimits, and After before anything
// is taken.
type Limits struct {
	mu   *sync.Mutex // guards all buckets; it is shared with the limits before and after
	list []*Limit
}

// Limit is one rate limit.
type Limit struct {
	Name    string // whose rule it is, and how much it admits, for people
	Policy  string // the value of the field RateLimit-Policy
	short   string // its name in such fields
	about   *api.RateLimit
	match   Match // nil: every request
	keys    []key
	rate    gcra
	loan    *Loan // nil: the proxy's share is the same always
	dryRun  bool
	excess  *metric.LimitCounts // requests that are beyond it
	buckets *buckets
}

// Match is a condition on a request's head.
type Match func(req []hpack.HeaderField) bool

// Excess says what a request is beyond of. A zero one is within all limits.
type Excess struct {
	Limit  *Limit        // that refuses it, of several the one with the longest wait; nil: none
	Wait   time.Duration // until that has room, if nobody else takes it
	DryRun *Limit        // one that would refuse it; nil: none would
}

// CompileLimits turns a port's messages into limits. What this proxy does not understand is an
// error of them all. It is told what conditions mean, and where to count what is beyond a limit.
func CompileLimits(
	about *api.Inbound,
	match func(*api.Match) (func(req []hpack.HeaderField) bool, error),
	count func(metric.RateLimit) *metric.LimitCounts,
) (*Limits, error) {
	list := about.GetRateLimits()
	if len(list) > api.MaxRateLimits {
		return nil, fmt.Errorf("%d rate limits, more than %d", len(list), api.MaxRateLimits)
	}
	out := &Limits{mu: &sync.Mutex{}}
	for i, m := range list {
		l, err := compileLimit(m)
		if err == nil && m.Match != nil {
			l.match, err = match(m.Match)
		}
		if err != nil {
			return nil, fmt.Errorf("rate limit %d (%s): %w", i, m.GetOrigin().GetRule(), err)
		}
		out.list = append(out.list, l)
	}
	if err := out.lend(about); err != nil {
		return nil, err
	}
	for _, l := range out.list {
		o := l.about.Origin
		l.excess = count(metric.RateLimit{Namespace: o.GetNamespace(), Policy: o.GetName(),
			Limit: o.GetRule(), Enforced: !l.dryRun})
		l.excess.Share.Store(0)
		if l.loan != nil {
			l.loan.show(&l.excess.Share)
		}
	}
	return out, nil
}

// lend has limits be lent of which destination says so.
func (ls *Limits) lend(about *api.Inbound) (err error) {
	for _, m := range about.GetLendings() {
		if m.Limit >= uint32(len(ls.list)) {
			return fmt.Errorf("a lending of rate limit %d, of %d", m.Limit, len(ls.list))
		}
		l := ls.list[m.Limit]
		if l.loan, err = newLoan(about.Port, about.RateLimits[m.Limit], m); err != nil {
			return fmt.Errorf("rate limit %d: %w", m.Limit, err)
		}
	}
	return nil
}

// Loans are those of the limits that are lent.
func (ls *Limits) Loans() (out []*Loan) {
	for _, l := range ls.list {
		if l.loan != nil {
			out = append(out, l.loan)
		}
	}
	return out
}

// rateNow is what the limit admits at a time, and counts a request that it is about.
func (l *Limit) rateNow(now time.Time) gcra {
	if l.loan == nil {
		return l.rate
	}
	l.loan.asked.Add(1)
	return l.loan.rateNow(now)
}

func compileLimit(m *api.RateLimit) (*Limit, error) {
	if err := checkLimit(m); err != nil {
		return nil, err
	}
	window := time.Duration(m.WindowMs) * time.Millisecond
	l := &Limit{
		Name: fmt.Sprintf("%s of %s/%s, %d requests in %s", m.Origin.GetRule(),
			m.Origin.GetNamespace(), m.Origin.GetName(), m.Requests, window),
		short:   quote(cmp.Or(m.Origin.GetRule(), m.Origin.GetName())),
		about:   aboutOf(m),
		rate:    newGCRA(m.Requests, cmp.Or(m.Burst, m.Requests), window),
		dryRun:  m.DryRun,
		buckets: newBuckets(),
	}
	l.Policy = fmt.Sprintf("%s;q=%d;w=%d", l.short, m.Requests, seconds(window))
	for i, km := range m.Keys {
		k, err := compileKey(km)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		l.keys = append(l.keys, k)
	}
	return l, nil
}

func checkLimit(m *api.RateLimit) error {
	for _, strict := range []proto.Message{m, m.Origin} {
		if err := api.Understood(strict); err != nil {
			return err
		}
	}
	least, most := api.MinRateWindow.Milliseconds(), api.MaxRateWindow.Milliseconds()
	switch {
	case m.Requests < 1 || m.Requests > api.MaxRateRequests || m.Burst > api.MaxRateRequests:
		return fmt.Errorf("%d requests, and a burst of %d", m.Requests, m.Burst)
	case m.WindowMs < uint64(least) || m.WindowMs > uint64(most):
		return fmt.Errorf("a window of %d ms, which is not %d to %d", m.WindowMs, least, most)
	}
	return nil
}

// aboutOf is what a limit counts, without how much of it it admits: limits that are about the same
// have the same buckets.
func aboutOf(m *api.RateLimit) *api.RateLimit {
	about := proto.Clone(m).(*api.RateLimit)
	about.Requests, about.WindowMs, about.Burst, about.DryRun = 0, 0, 0, false
	return about
}

// After is the limits as they count after others: what is about the same goes on with the buckets
// that it has, so that neither an update nor another share of a rate fills them again. The limits
// must not be in use yet.
func (ls *Limits) After(was *Limits) *Limits {
	if ls == was {
		return ls
	}
	ls.mu = was.mu
	var claimed [api.MaxRateLimits]bool
	for _, old := range was.list {
		for i, l := range ls.list {
			if !claimed[i] && proto.Equal(l.about, old.about) {
				l.buckets, claimed[i] = old.buckets, true
				if l.loan != nil && old.loan != nil && l.loan.pool == old.loan.pool {
					l.loan = old.loan
				}
				break
			}
		}
	}
	return ls
}

// Any reports whether there are limits.
func (ls *Limits) Any() bool { return len(ls.list) > 0 }

func (l *Limit) matches(req []hpack.HeaderField) bool { return l.match == nil || l.match(req) }

// Matching are the numbers of those that are about a request, in the order of the messages.
func (ls *Limits) Matching(req []hpack.HeaderField) (out []int) {
	for i, l := range ls.list {
		if l.matches(req) {
			out = append(out, i)
		}
	}
	return out
}

// held is a limit that a request is held against, and the bucket there.
type held struct {
	*Limit
	rate   gcra // of the moment
	bucket uint64
	tat    time.Duration // of the bucket
	wait   time.Duration // until it has room; 0 or less: it has
}

// Take counts a request in its buckets, unless it is beyond a limit: then it is counted in none.
// The pod's own calls are within all limits.
func (ls *Limits) Take(who *Caller, req []hpack.HeaderField, now time.Time) (over Excess) {
	if len(ls.list) == 0 || who.Security == metric.Loopback {
		return over
	}
	var room [api.MaxRateLimits]held
	against := room[:0]
	for _, l := range ls.list {
		if l.matches(req) {
			against = append(against, held{
				Limit: l, rate: l.rateNow(now), bucket: l.bucketOf(who, req)})
		}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i := range against {
		against[i].lookLocked(now)
		over.add(&against[i])
	}
	if over.Limit != nil {
		return over
	}
	for i := range against {
		if h := &against[i]; h.wait <= 0 { // what a dry run would refuse is not of its rate
			h.buckets.setLocked(h.bucket, h.rate.next(h.tat, h.buckets.sinceLocked(now)))
		}
	}
	return over
}

// lookLocked looks into the bucket.
func (h *held) lookLocked(now time.Time) {
	at := h.buckets.sinceLocked(now)
	h.tat = h.buckets.getLocked(h.bucket)
	if most := h.rate.emptiest(at); h.tat > most {
		h.tat = most
		h.buckets.setLocked(h.bucket, most)
	}
	h.wait = h.rate.early(h.tat, at)
}

// add counts what is beyond one more limit.
func (e *Excess) add(h *held) {
	if h.wait <= 0 {
		return
	}
	h.excess.Inc()
	switch {
	case h.dryRun:
		e.DryRun = h.Limit
	case h.wait > e.Wait:
		e.Limit, e.Wait = h.Limit, h.wait
	}
}

// Refusal says so to the caller (RFC 6585, 4); nil: the request is within all limits.
func (e Excess) Refusal() *Refusal {
	if e.Limit == nil {
		return nil
	}
	return &Refusal{
		Status: 429, Over: e,
		Reason: fmt.Sprintf("the request is beyond rate limit %s: try again in %d s", e.Limit.Name,
			e.RetryAfter()),
	}
}

// RetryAfter is in how many seconds there is room, at least one.
func (e *Excess) RetryAfter() int64 { return seconds(e.Wait) }

// RateLimit is the value of the field of that name: the limit has nothing left until there is room
// (draft-ietf-httpapi-ratelimit-headers-10, section 4).
func (e *Excess) RateLimit() string {
	return e.Limit.short + ";r=0;t=" + strconv.FormatInt(e.RetryAfter(), 10)
}

func seconds(d time.Duration) int64 { return max(1, int64(math.Ceil(d.Seconds()))) }

// quote makes a String of RFC 9651, 3.3.3, whose characters are printable ASCII.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c < ' ' || c > '~':
			c = '?'
		case c == '"' || c == '\\':
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	b.WriteByte('"')
	return b.String()
}
