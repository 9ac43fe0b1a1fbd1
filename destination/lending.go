package destination

import (
	"cmp"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

const (
	// lendFor is for how long a proxy does without what it lends, from when it hears that at the
	// earliest, and borrowFor for how long another one has it, from now on at the latest.
	// Each is said again when less than the time after it is left.
	lendFor     = 90 * time.Second
	lendAgain   = 60 * time.Second
	borrowFor   = 45 * time.Second
	borrowAgain = 22 * time.Second
	// clockSlack is by how much two clocks differ, of a minute and a half that both count: one that
	// is wrong by a hundredth.
	clockSlack = time.Second
	// maxUnconfirmed bounds what a proxy is told that does not answer.
	maxUnconfirmed = 4
)

// lending is one rate limit of which proxies have shares, and what they lend each other of it, as
// far as they have a stream here. It holds that at no time all that is borrowed is more than all
// that is lent, whatever message is late or lost:
//
//   - What a proxy lends counts from when it has confirmed it, and until lendFor after it is told.
//   - What a proxy may have borrowed counts from when it is said, and until its time is over, or
//     something else is confirmed.
//   - A loan is given only if all loans, with it, are no more than what is lent until its end.
//   - A proxy is let off what it lends only if the loans are no more than the rest.
//
// A proxy whose stream has ended has what it has until the time of that is over. The times are of
// this process's clock, and those on the wire are counted from messages, so no two clocks need to
// agree on more than how long a second is.
type lending struct {
	members []*sharer
}

// sharer is one stream's proxy.
type sharer struct {
	port    uint32
	tell    func(*api.Share) // it must not block
	own     uint64           // its share without loans
	gone    bool             // its stream has ended
	wanted  uint64
	heard   uint64 // the sequence of its last Demand; 0: none has come
	heardAt time.Time

	number    uint64 // of the last Share
	issued    []issued
	confirmed bool // the first of issued is in force, or one after it

	lend, borrow uint64 // what it is to lend, or to borrow, when all is said
}

// issued is a Share that the member may go by: those before the last one that it has confirmed are
// over.
type issued struct {
	number                 uint64
	asked                  uint64 // to lend
	lend, borrow           uint64
	lendUntil, borrowUntil time.Time
}

// hear takes what a member says.
func (l *lending) hear(m *sharer, d *api.Demand, now time.Time) {
	if m.heard == 0 {
		l.members = append(l.members, m)
	}
	m.wanted = min(d.GetWanted(), api.MaxRateRequests)
	m.heard, m.heardAt = d.GetSequence(), now
	i := slices.IndexFunc(m.issued, func(s issued) bool { return s.number == d.GetShare() })
	if i < 0 {
		return
	}
	m.issued, m.confirmed = m.issued[i:], true
	m.issued[0].lend = min(m.issued[0].lend, d.GetLent())
}

// lends is what the member does without for sure, from now until then.
func (m *sharer) lends(until time.Time) uint64 {
	if !m.confirmed || len(m.issued) == 0 || m.issued[0].lendUntil.Before(until) {
		return 0
	}
	least := m.issued[0].lend
	for _, s := range m.issued[1:] {
		least = min(least, s.lend)
	}
	return least
}

// borrows is what the member may have beside its own share, now or later.
func (m *sharer) borrows(now time.Time) (most uint64) {
	for _, s := range m.issued {
		if now.Before(s.borrowUntil) {
			most = max(most, s.borrow)
		}
	}
	return most
}

// last is what the member has been told, as far as that is not over.
func (m *sharer) last(now time.Time) (s issued) {
	if len(m.issued) == 0 {
		return s
	}
	s = m.issued[len(m.issued)-1]
	if !now.Before(s.lendUntil) {
		s.lend, s.asked = 0, 0
	}
	if !now.Before(s.borrowUntil) {
		s.borrow = 0
	}
	return s
}

// isOver reports whether nothing that the member was told is in force any longer.
func (m *sharer) isOver(now time.Time) bool {
	return !slices.ContainsFunc(m.issued, func(s issued) bool {
		return now.Before(s.lendUntil) || now.Before(s.borrowUntil)
	})
}

// settle says what members are to be told now. It leaves nothing more to be said until one of them
// speaks, or a few seconds have passed.
func (l *lending) settle(now time.Time, say func(*sharer, *api.Share)) {
	l.members = slices.DeleteFunc(l.members, func(m *sharer) bool {
		if m.isOver(now) {
			m.issued, m.confirmed = nil, false
		}
		return m.gone && m.issued == nil
	})
	l.plan(now)
	b := balanceOf(l.members, now)
	for _, m := range l.members {
		if m.gone || len(m.issued) >= maxUnconfirmed {
			continue
		}
		if next := b.next(m); m.isNews(next, now) {
			b.issue(m, next)
			say(m, m.share(b.until))
		}
	}
}

// balance is what is lent and borrowed while members are told what is new.
type balance struct {
	now, until time.Time // no loan that is given now ends later
	lent       uint64    // for sure from now until a little after then
	borrowed   uint64    // at most
}

func balanceOf(members []*sharer, now time.Time) balance {
	b := balance{now: now, until: now.Add(borrowFor)}
	for _, m := range members {
		b.lent += m.lends(b.end())
		b.borrowed += m.borrows(now)
	}
	return b
}

func (b *balance) end() time.Time { return b.until.Add(clockSlack) }

// next is what a member may be told.
func (b *balance) next(m *sharer) issued {
	next := issued{lendUntil: b.now.Add(lendFor), borrowUntil: b.until}
	others := b.borrowed - m.borrows(b.now)
	next.borrow = min(m.borrow, b.lent-min(others, b.lent))
	next.lend = b.letOff(m, max(b.borrowed, others+next.borrow))
	next.asked = next.lend
	return next
}

// letOff is what a member is to be told to lend, where so much is borrowed, or will be: less than
// now only if the others lend enough.
func (b *balance) letOff(m *sharer, borrowed uint64) uint64 {
	has := m.last(b.now).lend
	spare := b.lent - min(borrowed, b.lent)
	switch {
	case m.lend >= has:
		return m.lend
	case b.lent < borrowed:
		return has
	}
	return max(m.lend, has-min(has, spare))
}

// issue notes that a member is told something, which it may hear, or not.
func (b *balance) issue(m *sharer, next issued) {
	b.lent -= m.lends(b.end())
	b.borrowed -= m.borrows(b.now)
	m.number++
	next.number = m.number
	m.issued = append(m.issued, next)
	b.lent += m.lends(b.end())
	b.borrowed += m.borrows(b.now)
}

// share is the message of what was issued last.
func (m *sharer) share(until time.Time) *api.Share {
	last := m.issued[len(m.issued)-1]
	return &api.Share{
		Number: last.number, Lend: last.lend, LendMs: uint64(lendFor.Milliseconds()),
		Borrow: last.borrow, BorrowMs: uint64(until.Sub(m.heardAt).Milliseconds()),
		Sequence: m.heard,
	}
}

// isNews reports whether the member is to be told, for it has been told something else, or a while
// ago.
func (m *sharer) isNews(next issued, now time.Time) bool {
	last := m.last(now)
	return next.asked != last.asked || next.borrow != last.borrow ||
		next.lend > 0 && last.lendUntil.Sub(now) < lendAgain ||
		next.borrow > 0 && last.borrowUntil.Sub(now) < borrowAgain
}

// plan says what each member is to lend and to borrow. Who needs more than its share gets it from
// those that need less; of too little nobody gets more than another that is still in need. Those
// that lend already go on before others do, so that few are told anything new.
func (l *lending) plan(now time.Time) {
	var needy, rich []*sharer
	var needed, spared uint64
	for _, m := range l.members {
		m.lend, m.borrow = 0, 0
		if m.gone {
			continue
		}
		if need := m.need(); need > m.own {
			needy = append(needy, m)
			needed += need - m.own
		} else if need < m.own {
			rich = append(rich, m)
			spared += m.own - need
		}
	}
	all := min(needed, spared)
	slices.SortStableFunc(rich, func(a, b *sharer) int {
		return cmp.Or(cmp.Compare(b.last(now).lend, a.last(now).lend),
			cmp.Compare(b.own-b.need(), a.own-a.need()))
	})
	for left, i := all, 0; left > 0; i++ {
		rich[i].lend = min(rich[i].own-rich[i].need(), left)
		left -= rich[i].lend
	}
	slices.SortStableFunc(needy, func(a, b *sharer) int { return cmp.Compare(a.need(), b.need()) })
	for left, i := all, 0; i < len(needy); i++ {
		m := needy[i]
		m.borrow = min(m.need()-m.own, left/uint64(len(needy)-i))
		left -= m.borrow
	}
}

// need is what the member wants and a quarter more, and a tenth of its share, so that what comes
// next finds room; at least one request.
func (m *sharer) need() uint64 { return max(m.wanted+m.wanted/4+m.own/10, 1) }

// isActive reports whether anything is lent or borrowed, or to be.
func (l *lending) isActive() bool {
	return slices.ContainsFunc(l.members, func(m *sharer) bool {
		return len(m.issued) > 0 || m.borrow > 0
	})
}
