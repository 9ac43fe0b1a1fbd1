package viz

import (
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// Bounds of what is summed by workload for Prometheus.
const (
	// maxSeries bounds the page: a Prometheus that reads it keeps as many series, classic buckets
	// counted. How many flows there is room for follows from it, by the views that are shown.
	maxSeries = 40_000
	// seriesOfWorkloads of them are for what is told of workloads and of viz itself.
	seriesOfWorkloads = 4_000
	// classicSeries are those of a histogram: its buckets, their sum and their count.
	classicSeries = 18
	// reasonsEach is how many reasons a flow has, as a rule.
	reasonsEach = 3
	// flowShares is into how many shares the flows are cut. One is the most that a workload has:
	// what talks to more others than this is summed beyond it, and so is a proxy that makes names
	// up. It leaves the others' counters alone.
	flowShares = 8
)

// maxFlows is how many flows there are in all. Beyond it a workload's requests are summed with
// those of all others for which there was no room.
func maxFlows(views []view) int {
	each := 0
	for i := range views {
		v := &views[i]
		each += 2 + len(v.counters) + len(v.gauges) + classicSeries
		if v.reasons.name != "" {
			each += reasonsEach
		}
	}
	return (maxSeries - seriesOfWorkloads) / each
}

// otherName stands for all names beyond a bound.
const otherName = "other"

// flowKey is what is counted as one: requests from a workload to a workload, at one of the two,
// whichever of their pods they were between. No name in it is one that a stranger could choose
// freely: not an address, nor a name outside the cluster.
type flowKey struct {
	direction api.Direction
	own       key    // the workload whose proxies count
	peer      key    // outbound: the endpoint's workload; inbound: its caller's account
	service   key    // outbound: the Service that was called
	backend   string // outbound: what the Service's route chose: web-v2.shop.svc.cluster.local:80
	host      string // of that Service, whole: web.shop.svc.cluster.local
	callerID  string // inbound: what the caller proved
	protocol  string // http, grpc, tcp
	mtls      bool
}

func (k *flowKey) inbound() bool { return k.direction == api.Direction_DIRECTION_INBOUND }

// serviceNamespace is that of the destination, which at the destination is its own.
func (k *flowKey) serviceNamespace() string {
	if k.inbound() {
		return k.own.namespace
	}
	return k.service.namespace
}

// flow is what its proxies counted while viz saw it: counters that never fall while there is one of
// these proxies, or was within the hour. What is too old for rates (maxGap), such as all that was
// counted before viz started, is not in it: to Prometheus viz is then a process that started anew,
// and not one that saw a burst. The store's lock guards it.
type flow struct {
	key       flowKey
	total     sample
	holders   int // series
	changed   time.Time
	idle      bool // for longer than the history is: nobody is shown it until it changes
	exemplars exemplars

	// of the moment; a copy's alone
	standing standing
	caller   key // the workload that has callerID, if it is one alone
}

// flows are all of a store's. Its lock guards them.
type flows struct {
	most   int
	all    map[flowKey]*flow
	of     map[key]int // by its own workload
	folded uint64      // series that were put into an "other"
}

func newFlows(most int) flows {
	return flows{most: most, all: make(map[flowKey]*flow), of: make(map[key]int)}
}

// flowKey is where a series counts.
func (s *series) flowKey() flowKey {
	l := s.labels
	k := flowKey{direction: l.direction, mtls: l.security == api.Security_SECURITY_MTLS,
		protocol: protocolName(l.protocol)}
	k.own, _ = s.process.workload.of("")
	if l.inbound() {
		if c := s.caller(); c.kind == "serviceaccount" {
			k.peer, k.callerID = c, l.peerID
		}
		return k
	}
	k.peer, _ = l.peer.of("")
	if l.service != "" {
		k.service = key{l.namespace, "service", l.service}
		k.host, _, _ = strings.Cut(l.authority, ":")
		k.backend = l.backend
	}
	return k
}

// age hides what has been idle for longer than the history is, as if it had ended. When it comes
// back it goes on where it was.
func (f *flows) age(now time.Time) {
	for _, one := range f.all {
		one.idle = now.Sub(one.changed) > historyLength
	}
}

// note says that something has changed.
func (f *flow) note(now time.Time) { f.changed, f.idle = now, false }

// protocolName is what there are few of: HTTP's versions are one.
func protocolName(p string) string {
	switch p {
	case "grpc", "tcp":
		return p
	case "":
		return ""
	}
	return "http"
}

// hold returns a key's flow, or the one into which it is folded.
func (f *flows) hold(k flowKey) *flow {
	one := f.all[k]
	if one == nil && f.of[k.own] >= f.most/flowShares {
		f.folded++
		k = flowKey{direction: k.direction, own: k.own, peer: key{name: otherName}}
		one = f.all[k]
	}
	if one == nil && len(f.all) >= f.most {
		f.folded++
		k = flowKey{direction: k.direction, own: key{name: otherName}}
		one = f.all[k]
	}
	if one == nil {
		one = &flow{key: k}
		f.all[k] = one
		f.of[k.own]++
	}
	one.holders++
	return one
}

// release lets go of a flow. The last one to do so takes it away.
func (f *flows) release(one *flow) {
	if one.holders--; one.holders > 0 {
		return
	}
	f.remove(one)
}

func (f *flows) remove(one *flow) {
	delete(f.all, one.key)
	if f.of[one.key.own]--; f.of[one.key.own] == 0 {
		delete(f.of, one.key.own)
	}
}

// copyFlows is what there is now. The copies are the caller's.
func (s *store) copyFlows() (all []flow, folded uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all = make([]flow, 0, len(s.flows.all))
	standings, callers := s.flowStandingsLocked(), s.callersLocked()
	for _, f := range s.flows.all {
		if f.idle {
			continue
		}
		one := flow{key: f.key, caller: callers[f.key.callerID]}
		one.total.add(&f.total)
		one.exemplars.add(f.exemplars)
		if now := standings[f]; now != nil {
			one.standing = *now
		}
		all = append(all, one)
	}
	return all, s.flows.folded
}

// flowStandingsLocked is how the endpoints of each flow stand with those who are there to say so.
func (s *store) flowStandingsLocked() map[*flow]*standing {
	out := make(map[*flow]*standing)
	for one := range s.noted {
		if p := one.process; p.ended || p.stream == nil {
			continue
		}
		if out[one.flow] == nil {
			out[one.flow] = &standing{}
		}
		out[one.flow].note(one)
	}
	return out
}

// callersLocked are workloads by the SPIFFE ID of their pods, where no other workload has the same.
func (s *store) callersLocked() map[string]key {
	out := make(map[string]key)
	for _, p := range s.processes {
		k, _ := p.workload.of("")
		if was, several := out[p.key.reporter.id]; several && was != k {
			k = key{}
		}
		out[p.key.reporter.id] = k
	}
	return out
}
