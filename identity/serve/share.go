package serve

import (
	"container/heap"
	"container/list"
	"net/netip"
)

// share is a number of places, and who holds them. The Listener's mutex guards it.
type share struct {
	most, each int // places in all, and of one source
	// yields says that a newcomer takes the place of the oldest connection also where no source
	// holds more than the newcomer's would.
	yields bool

	held    int
	sources map[netip.Prefix]*source
	largest bySize
}

// source is an address, and its connections, oldest first.
type source struct {
	address netip.Prefix
	conns   list.List // of *conn
	index   int       // in bySize
}

func newShare(most, each int, yields bool) *share {
	return &share{most: most, each: each, yields: yields, sources: map[netip.Prefix]*source{}}
}

// add gives c a place. It returns the connection that had to give way for it, if any, or else why c
// got no place. With noMemory the share is full, however many it holds.
func (s *share) add(c *conn, noMemory bool) (evicted *conn, why reason) {
	from := s.sources[c.address]
	if from == nil {
		from = &source{address: c.address}
	}
	n := from.conns.Len()
	switch full := s.held >= s.most || noMemory; {
	case n >= s.each && !s.yields:
		return nil, reasonAddress
	case n >= s.each:
		evicted = oldest(from)
	case full && (s.held == 0 || !s.greedier(n)):
		return nil, reasonOf(noMemory)
	case full:
		evicted = oldest(s.largest[0])
	}
	if evicted != nil {
		s.remove(evicted)
	}
	s.insert(from, c)
	return evicted, ""
}

// greedier says whether some source holds more than a source of n would with one more. In a share
// that yields it need only hold as many.
func (s *share) greedier(n int) bool {
	top := s.largest[0].conns.Len()
	return top > n+1 || s.yields && top >= n
}

// insert makes c the newest of its source.
func (s *share) insert(from *source, c *conn) {
	c.share, c.element = s, from.conns.PushBack(c)
	s.held++
	if from.conns.Len() > 1 {
		heap.Fix(&s.largest, from.index)
		return
	}
	s.sources[from.address] = from
	heap.Push(&s.largest, from)
}

// remove takes c's place away; c must have one here.
func (s *share) remove(c *conn) {
	from := s.sources[c.address]
	from.conns.Remove(c.element)
	c.element = nil
	s.held--
	if from.conns.Len() > 0 {
		heap.Fix(&s.largest, from.index)
		return
	}
	heap.Remove(&s.largest, from.index)
	delete(s.sources, from.address)
}

func oldest(s *source) *conn { return s.conns.Front().Value.(*conn) }

// bySize is a heap of sources: who holds the most comes first.
type bySize []*source

func (b bySize) Len() int           { return len(b) }
func (b bySize) Less(i, j int) bool { return b[i].conns.Len() > b[j].conns.Len() }

func (b bySize) Swap(i, j int) {
	b[i], b[j] = b[j], b[i]
	b[i].index, b[j].index = i, j
}

func (b *bySize) Push(x any) {
	s := x.(*source)
	s.index = len(*b)
	*b = append(*b, s)
}

func (b *bySize) Pop() any {
	old := *b
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*b = old[:len(old)-1]
	return last
}

// hostBits of an IPv6 address are a host's own to choose (RFC 4291, section 2.5.1).
const hostBits = 64

// AddressOf is what the caller at remote, "IP:port", is counted by. All that have no IP address, as
// in a test, are one caller.
func AddressOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap()
	if ip.Is4() {
		return netip.PrefixFrom(ip, ip.BitLen())
	}
	p, err := ip.WithZone("").Prefix(ip.BitLen() - hostBits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
