package viz

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// When a workload is said to lose traces' contexts.
const (
	// LeastCalls is of how many calls at least something is said: a few may be chance.
	LeastCalls = 20
	// LosingShare is how many of them are of other traces than those of the requests that the
	// workload was serving meanwhile. What it does in the background is of other traces too, and
	// rightly so; more than half of all calls it seldom is.
	LosingShare = 0.5
)

// Propagation is the answer to /api/propagation: whose applications pass on the headers of traces.
type Propagation struct {
	// Traced is how many requests it is made of, the latest.
	Traced    int              `json:"traced"`
	Workloads []PropagationRow `json:"workloads"`
}

// PropagationRow is one workload that makes requests while it serves traced ones.
type PropagationRow struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	// Calls are the traced requests that it made while it served traced ones, and Lost those of
	// them that are of none of these traces.
	Calls int  `json:"calls"`
	Lost  int  `json:"lost"`
	Loses bool `json:"loses"` // by LeastCalls and LosingShare
}

// propagation answers /api/propagation. A call that was made because of a request is of its trace,
// if the application passes the headers on.
func (v *Server) propagation(time.Time, struct{}) (*Propagation, error) {
	names, pods := v.store.workloads(), map[reporter]*served{}
	out := &Propagation{Workloads: []PropagationRow{}}
	for _, k := range v.records.latest() {
		r := names.look(k)
		if !r.traced() || r.said.Trace.GetLinkedTraceId() != nil {
			continue
		}
		out.Traced++
		pod := pods[k.who]
		if pod == nil {
			pod = &served{of: r.of}
			pods[k.who] = pod
		}
		if r.inbound() {
			pod.requests = append(pod.requests, k)
		} else {
			pod.calls = append(pod.calls, k)
		}
	}
	rows := map[workload]*PropagationRow{}
	for _, pod := range pods {
		pod.of.pod = ""
		row := rows[pod.of]
		if row == nil {
			row = &PropagationRow{Name: pod.of.name, Kind: pod.of.kind,
				Namespace: pod.of.namespace}
			rows[pod.of] = row
		}
		pod.count(row)
	}
	for _, row := range rows {
		row.Loses = row.Calls >= LeastCalls && float64(row.Lost) > LosingShare*float64(row.Calls)
		if row.Calls > 0 {
			out.Workloads = append(out.Workloads, *row)
		}
	}
	slices.SortFunc(out.Workloads, func(a, b PropagationRow) int {
		return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind))
	})
	return out, nil
}

// Losing says in words who loses the context.
func (p *Propagation) Losing() (out []string) {
	for _, row := range p.Workloads {
		if row.Loses {
			out = append(out, fmt.Sprintf("%s/%s: %d of the %d calls that it made while it served"+
				" traced requests are of none of their traces", row.Namespace, row.Name, row.Lost,
				row.Calls))
		}
	}
	return out
}

// served are the traced requests of a pod, and those that it made.
type served struct {
	of       workload
	requests []*kept
	calls    []*kept
}

// count walks through both by time, with the requests that are under way.
func (s *served) count(row *PropagationRow) {
	byStart := func(a, b *kept) int { return a.start.Compare(b.start) }
	slices.SortFunc(s.requests, byStart)
	slices.SortFunc(s.calls, byStart)
	var open []*kept
	next := 0
	for _, c := range s.calls {
		for ; next < len(s.requests) && !s.requests[next].start.After(c.start); next++ {
			open = append(open, s.requests[next])
		}
		open = slices.DeleteFunc(open, func(r *kept) bool { return r.end.Before(c.start) })
		if len(open) == 0 {
			continue
		}
		row.Calls++
		if !slices.ContainsFunc(open, func(r *kept) bool { return r.trace == c.trace }) {
			row.Lost++
		}
	}
}
