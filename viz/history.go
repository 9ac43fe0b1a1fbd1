package viz

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

// The history: what each series did in each slot of time, for an hour.
const (
	slotLength    = 5 * time.Second
	historyLength = time.Hour
	// HistoryBudget bounds the ring and the open slot. An active series costs about 60 bytes a
	// slot, and its whole as much again: an hour of 1,200 busy ones fits. Where there are more, the
	// history of single pods is shorter, and then that of wholes.
	HistoryBudget = 128 << 20
	// recentSlots are those before the open one that DefaultWindow has.
	recentSlots = int64(DefaultWindow/slotLength) - 1
	// podSlots is for how long the budget leaves single pods their history while wholes have any.
	podSlots = int(DefaultWindow/slotLength) + 1
)

// history is a ring of slots. Slots whose time is over are packed: they do not change any more, and
// are seldom read. What wholes did in the recent ones is summed up beforehand: see recent.go.
type history struct {
	closed  []*slot // oldest first
	podless int     // so many of the oldest have no parts any more
	recent  int     // so many of the latest, and the open one, are in the wholes' recent
	open    *openSlot
	level   *table // of wholes
	size    int    // of the closed slots
	sums    int    // of what is recent
	scratch scratch
}

// openSlot is where reports of the moment add up.
type openSlot struct {
	number  int64 // since 1970, in slots
	samples map[*series]packed
	covered map[*process]time.Duration
	size    int // of the samples
}

// openSize is what a sample of the open slot costs beside its bytes, with its place in a map.
const openSize = 64

// slot is five seconds of the past.
type slot struct {
	number  int64
	wholes  log
	parts   log // empty once the history is podless there
	covered []coverage
}

// log is what series did in a slot, by their numbers. The i-th sample ends at ends[i] in data.
type log struct {
	index []uint32
	ends  []uint32
	data  []byte
}

// coverage is how much of a proxy's own time its reports in a slot told of. It is not always the
// slot's length: reports come when they come, and their counts must be divided by the time in which
// they happened.
type coverage struct {
	process *process
	time    time.Duration
}

// number is the open slot's; 0: nothing was ever reported.
func (h *history) number() int64 {
	if h.open == nil {
		return 0
	}
	return h.open.number
}

func slotNumber(t time.Time) int64 { return t.UnixNano() / int64(slotLength) }

// turn closes the open slot when its time is over, and says whether it did.
func (h *history) turn(now time.Time) bool {
	number := slotNumber(now)
	if h.open != nil {
		h.follow(number)
		if h.open.number >= number {
			return false
		}
	}
	if h.open != nil && len(h.open.covered)+len(h.open.samples) > 0 {
		h.push(h.open.pack(&h.scratch))
	}
	h.open = &openSlot{number: number, samples: make(map[*series]packed),
		covered: make(map[*process]time.Duration)}
	h.trim(number)
	return true
}

// follow keeps the age of what is known when the clock is set back, else nothing new would be kept
// until the clock is where it was. What is a slot or two late is another report's moment, or a
// clock that is being steered: the open slot just lasts longer.
func (h *history) follow(number int64) {
	const late = 2
	by := h.open.number - number
	if by <= late {
		return
	}
	h.open.number -= by
	for _, s := range h.closed {
		s.number -= by
	}
}

func (h *history) push(s *slot) {
	h.closed = append(h.closed, s)
	h.size += s.size()
	h.recent++
}

// trim keeps the history's length and budget. Pods lose their part first.
func (h *history) trim(number int64) {
	for h.recent > 0 && h.closed[len(h.closed)-h.recent].number < number-recentSlots {
		h.age()
	}
	for h.bytes() > HistoryBudget && h.podless+podSlots < len(h.closed) {
		h.size -= h.closed[h.podless].dropParts()
		h.podless++
	}
	oldest := number - int64(historyLength/slotLength)
	for len(h.closed) > 0 && (h.closed[0].number < oldest || h.bytes() > HistoryBudget) {
		if h.recent == len(h.closed) {
			h.age()
		}
		h.size -= h.closed[0].size()
		h.closed[0] = nil // the array outlives the slice's start
		h.closed = h.closed[1:]
		h.podless = max(0, h.podless-1)
	}
}

// bytes is what the history takes, the open slot included.
func (h *history) bytes() int {
	if h.open == nil {
		return h.size + h.sums
	}
	return h.size + h.sums + h.open.size
}

func (h *history) cover(now time.Time, p *process, d time.Duration, counted bool) {
	h.turn(now)
	if counted {
		h.open.covered[p] += d
		p.lately += d
	}
}

func (h *history) add(now time.Time, s *series, d *sample) {
	h.turn(now)
	h.put(s, d)
	h.change(s.whole, d, (*sample).merge)
	h.trim(h.open.number)
}

// put adds to what a series did in the open slot.
func (h *history) put(s *series, d *sample) {
	was, again := h.open.samples[s]
	if again {
		h.scratch.sample.parse(was)
		h.scratch.sample.add(d)
		d = &h.scratch.sample
	} else {
		h.open.size += openSize
	}
	next := h.scratch.pack(was, d)
	h.open.size += cap(next) - cap(was)
	h.open.samples[s] = next
}

// inherit gives what a series did in the open slot to another one.
func (h *history) inherit(heir, one *series) {
	if h.open == nil {
		return
	}
	did, ok := h.open.samples[one]
	if !ok {
		return
	}
	delete(h.open.samples, one)
	h.open.size -= openSize + cap(did)
	var d sample
	d.parse(did)
	h.put(heir, &d)
}

// pack closes the slot: its samples by whole, and summed up for each.
func (o *openSlot) pack(scratch *scratch) *slot {
	s := &slot{number: o.number, covered: make([]coverage, 0, len(o.covered))}
	all, size := make([]*series, 0, len(o.samples)), 0
	for one, sum := range o.samples {
		all = append(all, one)
		size += len(sum)
	}
	slices.SortFunc(all, func(a, b *series) int {
		return cmp.Compare(a.whole.index, b.whole.index)
	})
	s.parts, s.wholes = newLog(len(all), size), newLog(wholesOf(all), size)
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].whole == all[0].whole {
			n++
		}
		s.wholes.add(all[0].whole.index, o.sum(all[:n], scratch))
		for _, one := range all[:n] {
			s.parts.add(one.index, o.samples[one])
		}
		all = all[n:]
	}
	s.wholes.data = slices.Clone(s.wholes.data) // less than all parts' were
	for p, d := range o.covered {
		s.covered = append(s.covered, coverage{p, d})
	}
	return s
}

// wholesOf counts the wholes of parts that are in their order.
func wholesOf(parts []*series) (n int) {
	for i, one := range parts {
		if i == 0 || one.whole != parts[i-1].whole {
			n++
		}
	}
	return n
}

// sum is what a whole's parts did together.
func (o *openSlot) sum(parts []*series, scratch *scratch) packed {
	if len(parts) == 1 {
		return o.samples[parts[0]]
	}
	var all sample
	for _, one := range parts {
		scratch.sample.parse(o.samples[one])
		all.merge(&scratch.sample)
	}
	return scratch.pack(nil, &all)
}

func newLog(n, size int) log {
	return log{make([]uint32, 0, n), make([]uint32, 0, n), make([]byte, 0, size)}
}

func (l *log) add(index uint32, b packed) {
	l.data = append(l.data, b...)
	l.index = append(l.index, index)
	l.ends = append(l.ends, uint32(len(l.data)))
}

func (l *log) sample(i int) packed {
	begin := uint32(0)
	if i > 0 {
		begin = l.ends[i-1]
	}
	return l.data[begin:l.ends[i]]
}

func (l *log) size() int { return 72 + cap(l.data) + 8*len(l.index) }

func (s *slot) size() int {
	return 32 + s.wholes.size() + s.parts.size() + 16*len(s.covered)
}

// dropParts gives up what single pods did, and says how much memory that was.
func (s *slot) dropParts() int {
	was := s.size()
	s.parts = log{}
	return was - s.size()
}

// packed is a sample as append makes it.
type packed []byte

// scratch is memory to unpack and pack samples in. It holds none.
type scratch struct {
	sample sample
	bytes  []byte
}

// pack puts a sample where another one was, if it fits there.
func (x *scratch) pack(was packed, s *sample) packed {
	x.bytes = s.append(x.bytes[:0])
	if len(x.bytes) > cap(was) {
		was = make(packed, 0, len(x.bytes))
	}
	return append(was[:0], x.bytes...)
}

// counters unpacks the counters alone.
func (b packed) counters() (c counters) {
	c.parse(b)
	return c
}

// append packs a sample: a bit for each counter that is not zero, those counters, then the buckets
// as distances and counts. Most counters of a slot are zero and the others small, so this is a
// sixth of the struct.
func (s *sample) append(b []byte) []byte {
	var mask uint64
	for i, v := range s.counters {
		if v != 0 {
			mask |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, mask)
	for _, v := range s.counters {
		if v != 0 {
			b = binary.AppendUvarint(b, v)
		}
	}
	last := uint16(0)
	for _, x := range s.buckets {
		b = binary.AppendUvarint(b, uint64(x.index-last))
		b = binary.AppendUvarint(b, x.count)
		last = x.index
	}
	return b
}

// parse reads what append wrote; nothing else ever comes here. Of nothing it makes the zero sample.
func (s *sample) parse(b packed) {
	s.buckets = s.counters.parse(b).buckets(s.buckets[:0])
}

// zero says whether all counters are.
func (b packed) zero() bool { return len(b) == 0 || b[0] == 0 }

// buckets unpacks what is behind the counters, into memory that is there.
func (b packed) buckets(into []bucket) []bucket {
	last := uint16(0)
	for len(b) > 0 {
		last += uint16(b.next())
		into = append(into, bucket{last, b.next()})
	}
	return into
}

// parse returns what is behind the counters.
func (c *counters) parse(b packed) packed {
	*c = counters{}
	for mask := b.next(); mask != 0; mask &= mask - 1 {
		c[bits.TrailingZeros64(mask)] = b.next()
	}
	return b
}

// addPacked adds counters that are packed, and returns what is behind them. Most are zero, and cost
// nothing.
func (c *counters) addPacked(b packed) packed {
	for mask := b.next(); mask != 0; mask &= mask - 1 {
		i := bits.TrailingZeros64(mask)
		c[i] = addUp(c[i], b.next())
	}
	return b
}

// next takes a number off the front. Most are small.
func (b *packed) next() uint64 {
	if all := *b; len(all) > 0 && all[0] < 0x80 {
		*b = all[1:]
		return uint64(all[0])
	}
	return b.large()
}

func (b *packed) large() uint64 {
	v, n := binary.Uvarint(*b)
	*b = (*b)[max(n, 0):]
	return v
}
