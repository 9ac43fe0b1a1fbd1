package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/test/svid"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/api/vizgrpc"
)

// proxy makes up the figures of one pod's proxy.
type proxy struct {
	name, pod string
	flows     []flow
}

// flow is one series: so many requests a second, of which some fail.
type flow struct {
	to, route  string // outbound
	from       string // inbound: a workload, or an address
	unmeshed   bool
	rate       float64
	fails      float64 // of the tries
	retried    bool
	median     time.Duration
	cumulative *api.Series
}

// run reports once a second until the context ends.
func (p *proxy) run(ctx context.Context, ca *svid.CA, addr string) error {
	source, err := ca.Source("shop", p.name, p.pod, time.Hour)
	if err != nil {
		return err
	}
	server, err := spiffe.ForWorkload(trustDomain, "tulle", "tulle-viz")
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(
		credentials.NewTLS(spiffe.ClientConfig(source, server, []string{"h2"}, ""))))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := vizgrpc.NewVizClient(conn).Report(ctx)
	if err != nil {
		return err
	}
	return p.report(ctx, stream)
}

// reportStream is a proxy's end of the stream of its reports.
type reportStream = grpc.BidiStreamingClient[api.ReportRequest, api.ReportResponse]

func (p *proxy) report(ctx context.Context, stream reportStream) error {
	start := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for sequence := uint64(1); ; sequence++ {
		m := &api.ReportRequest{
			StartId: fmt.Sprint(start.UnixNano()), Sequence: sequence,
			UptimeMs: uint64(time.Since(start).Milliseconds()),
			Workload: &api.Workload{
				Namespace: "shop", Kind: "deployment", Name: p.name, Pod: p.pod,
			},
			CertificateExpiryUnix: start.Add(time.Hour).Unix(),
		}
		for i := range p.flows {
			m.Series = append(m.Series, p.flows[i].tick(uint32(i), p, time.Since(start)))
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tick adds a second of traffic. The rate swings, so that trends have something to show.
func (f *flow) tick(id uint32, p *proxy, at time.Duration) *api.Series {
	if f.cumulative == nil {
		f.cumulative = &api.Series{Id: id, Labels: f.labels(p), ConnectionsOpen: 2}
		for i := range metric.Buckets {
			f.cumulative.Bucket = append(f.cumulative.Bucket, uint32(i))
		}
		f.cumulative.BucketCount = make([]uint64, metric.Buckets)
	}
	swing := 1 + 0.5*math.Sin(at.Seconds()/8+float64(id))
	for range int(f.rate*swing + rand.Float64()) {
		f.request()
	}
	return f.cumulative
}

// request is one of them, with up to two retries where the flow has any.
func (f *flow) request() {
	s := f.cumulative
	s.Requests++
	s.ReadBytes += 300
	s.WrittenBytes += 1200
	s.BucketCount[metric.Index(time.Duration(float64(f.median)*math.Exp(rand.NormFloat64()*0.8)))]++
	for try := 0; ; try++ {
		s.Tries++
		if rand.Float64() >= f.fails {
			return
		}
		s.FailedTries++
		if !f.retried || try == 2 {
			s.Failures++
			return
		}
		s.Retries++
	}
}

func (f *flow) labels(p *proxy) *api.Labels {
	own := "spiffe://cluster.local/ns/shop/sa/"
	l := &api.Labels{
		Direction: api.Direction_DIRECTION_INBOUND, Security: api.Security_SECURITY_MTLS,
		OwnId: own + p.name, Protocol: "http/1", Port: 8080, Route: f.route,
	}
	if f.to != "" {
		l.Direction, l.Namespace, l.Service, l.Authority = api.Direction_DIRECTION_OUTBOUND, "shop",
			f.to, f.to+".shop.svc.cluster.local:80"
		l.Peer = &api.Workload{Namespace: "shop", Kind: "deployment", Name: f.to, Pod: f.to + "-1"}
		l.PeerId = own + f.to
	} else if !f.unmeshed {
		l.PeerId = own + f.from
	}
	if f.unmeshed {
		l.Security, l.PeerId, l.PeerAddress = api.Security_SECURITY_PLAINTEXT_UNMESHED, "", f.from
	}
	return l
}

// proxies are a shop: web → checkout → {inventory, payments}, a database without a proxy, and a
// caller without one.
func proxies() []*proxy {
	ms := time.Millisecond
	return []*proxy{
		{name: "web", pod: "web-1", flows: []flow{
			{to: "checkout", route: "POST /pay", rate: 40, fails: 0.3,
				retried: true, median: 9 * ms},
			{to: "checkout", route: "GET /cart/{id}", rate: 120, fails: 0.001, median: 3 * ms},
		}},
		{name: "web", pod: "web-2",
			flows: []flow{{to: "checkout", route: "GET /cart/{id}", rate: 115, median: 3 * ms}}},
		{name: "checkout", pod: "checkout-1", flows: []flow{
			{from: "web", rate: 300, fails: 0.05, median: 4 * ms},
			{from: "10.244.0.17", unmeshed: true, rate: 14, fails: 0.08, median: 30 * ms},
			{to: "inventory", route: "GET /items/{id}", rate: 530, median: 2 * ms},
			{to: "payments", route: "POST /charge", rate: 40, fails: 0.02,
				retried: true, median: 60 * ms},
			{to: "db", unmeshed: true, rate: 80, median: 900 * time.Microsecond},
		}},
		{name: "inventory", pod: "inventory-1",
			flows: []flow{{from: "checkout", rate: 530, median: 2 * ms}}},
		{name: "payments", pod: "payments-1",
			flows: []flow{{from: "checkout", rate: 40, fails: 0.02, median: 60 * ms}}},
	}
}
