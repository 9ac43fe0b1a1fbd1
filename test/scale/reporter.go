package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/viz/api"
)

const reportMethod = "/tulle.viz.v1.Viz/Report"

const (
	// latencies of a series fall into so many buckets, from a millisecond on.
	busyBuckets = 12
	perReport   = 10 // requests of each series between two reports
)

// reporter is a proxy of viz: what it has called, and who has called it.
type reporter struct {
	who      pod
	own      string // its SPIFFE ID
	series   []*api.Series
	labels   []*api.Labels // of each
	sequence uint64
	start    time.Time
}

// newReporter is the proxy of a pod that some services call, and that calls others.
func (s shape) newReporter(i int, callers, calls []int) (*reporter, error) {
	r := &reporter{who: pod{service: i / s.Pods, number: i}, start: time.Now()}
	var err error
	if r.own, err = accountOf(r.who.service); err != nil {
		return nil, err
	}
	for _, caller := range callers {
		id, err := accountOf(caller)
		if err != nil {
			return nil, err
		}
		r.add(&api.Labels{Direction: api.Direction_DIRECTION_INBOUND, Port: targetPort, PeerId: id})
	}
	for _, called := range calls {
		id, err := accountOf(called)
		if err != nil {
			return nil, err
		}
		peer := pod{service: called, number: called * s.Pods}
		r.add(&api.Labels{
			Direction: api.Direction_DIRECTION_OUTBOUND, Authority: authorityOf(called),
			Namespace: namespaceOf(called), Service: serviceName(called),
			Backend: authorityOf(called), Peer: peer.reported(), PeerId: id,
		})
	}
	return r, nil
}

// accountOf is the SPIFFE ID of a service's pods.
func accountOf(service int) (string, error) {
	id, err := spiffe.ForWorkload(trustDomain, namespaceOf(service), serviceName(service))
	return id.String(), err
}

// edgesEach is how many services a pod calls, and is called by, where edges are many.
const edgesEach = 5

// edges are those that a pod calls, as no other pod of its service does, and those that call it and
// none of its siblings. So there are as many edges between services as pods have calls.
func (s shape) edges(i int) (callers, calls []int) {
	service, number := i/s.Pods, i%s.Pods
	for n := range edgesEach {
		distance := 1 + number*edgesEach + n
		calls = append(calls, (service+distance)%s.Services)
		callers = append(callers, (service-distance%s.Services+s.Services)%s.Services)
	}
	return callers, calls
}

func (r *reporter) add(l *api.Labels) {
	l.OwnId, l.Security, l.Protocol = r.own, api.Security_SECURITY_MTLS, "http/2"
	s := &api.Series{Id: uint32(len(r.series)), ConnectionsOpen: 1}
	first := metric.Index(time.Millisecond)
	for i := range busyBuckets {
		s.Bucket = append(s.Bucket, uint32(first+i))
	}
	s.BucketCount = make([]uint64, busyBuckets)
	r.series, r.labels = append(r.series, s), append(r.labels, l)
}

func (p pod) reported() *api.Workload {
	return &api.Workload{Namespace: namespaceOf(p.service), Kind: "deployment",
		Name: serviceName(p.service), Pod: p.name()}
}

// run reports as often as viz asks for, until the stream ends.
func (r *reporter) run(ctx context.Context, client *rpc.Client, here func()) error {
	stream, err := client.Open(ctx, reportMethod)
	if err != nil {
		return err
	}
	defer stream.Close()
	for first := true; ; first = false {
		if err := stream.Send(r.next(first)); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		answer := &api.ReportResponse{}
		if err := stream.Recv(answer); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		here()
		select {
		case <-time.After(time.Duration(answer.IntervalMs) * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// next is a report in which every series has changed. Labels go with the first of a stream.
func (r *reporter) next(first bool) *api.ReportRequest {
	r.sequence++
	for i, s := range r.series {
		if s.Labels = nil; first {
			s.Labels = r.labels[i]
		}
		s.Requests += perReport
		s.Tries += perReport
		s.ReadBytes += 300 * perReport
		s.WrittenBytes += 1200 * perReport
		for i := range s.BucketCount {
			s.BucketCount[i]++
		}
	}
	return &api.ReportRequest{
		StartId: fmt.Sprint(r.start.UnixNano()), Sequence: r.sequence, Version: "scale",
		UptimeMs: uint64(time.Since(r.start).Milliseconds()), Workload: r.who.reported(),
		Series: r.series, CertificateExpiryUnix: r.start.Add(svidLife).Unix(),
	}
}
