package viz

import (
	"encoding/binary"
	"time"
)

// The history: what each series did in each slot of time, for an hour.
const (
	slotLength    = 5 * time.Second
	historyLength = time.Hour
	// HistoryBudget bounds the ring and the open slot. An active series costs about 60 bytes a
	// slot: an hour of 2,500 busy ones fits, and where there are more the history is shorter.
	HistoryBudget = 128 << 20
)

// history is a ring of slots. Slots whose time is over are packed: they do not change any more, and
// are seldom read.
type history struct {
	closed  []*slot // oldest first
	open    *openSlot
	size    int
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

// slot is five seconds of the past. samples[i] ends at ends[i] in data.
type slot struct {
	number  int64
	series  []*series
	ends    []uint32
	data    []byte
	covered []coverage
}

// coverage is how much of a proxy's own time its reports in a slot told of. It is not always the
// slot's length: reports come when they come, and their counts must be divided by the time in which
// they happened.
type coverage struct {
	process *process
	time    time.Duration
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
		h.push(h.open.pack())
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
}

func (h *history) trim(number int64) {
	oldest := number - int64(historyLength/slotLength)
	for len(h.closed) > 0 && (h.closed[0].number < oldest || h.bytes() > HistoryBudget) {
		h.size -= h.closed[0].size()
		h.closed[0] = nil // the array outlives the slice's start
		h.closed = h.closed[1:]
	}
}

// bytes is what the history takes, the open slot included.
func (h *history) bytes() int {
	if h.open == nil {
		return h.size
	}
	return h.size + h.open.size
}

func (h *history) cover(now time.Time, p *process, d time.Duration, counted bool) {
	h.turn(now)
	if counted {
		h.open.covered[p] += d
	}
}

func (h *history) add(now time.Time, s *series, d *sample) {
	h.turn(now)
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
	h.trim(h.open.number)
}

func (o *openSlot) pack() *slot {
	s := &slot{
		number: o.number, series: make([]*series, 0, len(o.samples)),
		ends:    make([]uint32, 0, len(o.samples)),
		covered: make([]coverage, 0, len(o.covered)),
	}
	size := 0
	for _, sum := range o.samples {
		size += len(sum)
	}
	s.data = make([]byte, 0, size)
	for one, sum := range o.samples {
		s.data = append(s.data, sum...)
		s.series = append(s.series, one)
		s.ends = append(s.ends, uint32(len(s.data)))
	}
	for p, d := range o.covered {
		s.covered = append(s.covered, coverage{p, d})
	}
	return s
}

func (s *slot) size() int { return 96 + len(s.data) + 12*len(s.series) + 16*len(s.covered) }

// sample unpacks the i-th sample into into, whose buckets are reused.
func (s *slot) sample(i int, into *sample) {
	begin := uint32(0)
	if i > 0 {
		begin = s.ends[i-1]
	}
	into.parse(s.data[begin:s.ends[i]])
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
	s.buckets = s.buckets[:0]
	last := uint16(0)
	for b = s.counters.parse(b); len(b) > 0; {
		last += uint16(b.next())
		s.buckets = append(s.buckets, bucket{last, b.next()})
	}
}

// parse returns what is behind the counters.
func (c *counters) parse(b packed) packed {
	*c = counters{}
	mask := b.next()
	for i := range c {
		if mask&(1<<i) != 0 {
			c[i] = b.next()
		}
	}
	return b
}

// next takes a number off the front.
func (b *packed) next() uint64 {
	v, n := binary.Uvarint(*b)
	*b = (*b)[max(n, 0):]
	return v
}
