package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/test/svid"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/api/vizgrpc"
)

// proxy makes up the figures of one pod's proxy.
type proxy struct {
	namespace, name, pod string // of a namespace: "" is shop
	flows                []flow
	host                 byte
	late                 time.Duration // after the first
}

// flow is one series: so many requests a second, of which some fail.
type flow struct {
	to, route  string // outbound
	namespace  string // outbound: its, "" is shop
	from       string // inbound: a workload, or an address
	unmeshed   bool
	rate       float64
	fails      float64 // of the tries
	retried    bool
	median     time.Duration
	cumulative *api.Series
	latency    []uint64 // by bucket
}

// stay reports until the context ends, and connects again where that failed: on a busy machine not
// all get through at once. Those that are many begin one after the other.
func (p *proxy) stay(ctx context.Context, ca *svid.CA, addr string) error {
	pause := p.late
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		err := p.run(ctx, ca, addr)
		if ctx.Err() != nil || status.Code(err) != codes.Unavailable {
			return err
		}
		pause = time.Second
	}
}

// run reports once a second until the context ends.
func (p *proxy) run(ctx context.Context, ca *svid.CA, addr string) error {
	source, err := ca.Source(shop(p.namespace), p.name, p.pod, time.Hour)
	if err != nil {
		return err
	}
	server, err := spiffe.ForWorkload(trustDomain, "tulle", "tulle-viz")
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(addr, grpc.WithContextDialer(p.dial), grpc.WithTransportCredentials(
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

// dial connects from an address of the proxy's own: viz lets so many in from one.
func (p *proxy) dial(ctx context.Context, addr string) (net.Conn, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, p.host)}}
	return from.DialContext(ctx, "tcp", addr)
}

// reportStream is a proxy's end of the stream of its reports.
type reportStream = grpc.BidiStreamingClient[api.ReportRequest, api.ReportResponse]

func (p *proxy) report(ctx context.Context, stream reportStream) error {
	start := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	every := time.Second
	for sequence := uint64(1); ; sequence++ {
		m := &api.ReportRequest{
			StartId: fmt.Sprint(start.UnixNano()), Sequence: sequence,
			UptimeMs: uint64(time.Since(start).Milliseconds()),
			Workload: &api.Workload{
				Namespace: shop(p.namespace), Kind: "deployment", Name: p.name, Pod: p.pod,
			},
			CertificateExpiryUnix: start.Add(time.Hour).Unix(),
		}
		for i := range p.flows {
			m.Series = append(m.Series, p.flows[i].tick(uint32(i), p, time.Since(start), every))
		}
		if err := stream.Send(m); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if next := time.Duration(answer.IntervalMs) * time.Millisecond; next != every {
			every = next
			ticker.Reset(every)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// shop is the namespace of what has none of its own.
func shop(namespace string) string { return cmp.Or(namespace, "shop") }

// tick adds the traffic of a while. The rate swings, so that trends have something to show.
func (f *flow) tick(id uint32, p *proxy, at, while time.Duration) *api.Series {
	if f.cumulative == nil {
		f.cumulative = &api.Series{Id: id, Labels: f.labels(p), ConnectionsOpen: 2}
		f.latency = make([]uint64, metric.Buckets)
	}
	swing := 1 + 0.5*math.Sin(at.Seconds()/8+float64(id))
	for range int(f.rate*swing*while.Seconds() + rand.Float64()) {
		f.request()
	}
	s := f.cumulative
	s.Bucket, s.BucketCount = s.Bucket[:0], s.BucketCount[:0]
	for i, n := range f.latency {
		if n > 0 {
			s.Bucket, s.BucketCount = append(s.Bucket, uint32(i)), append(s.BucketCount, n)
		}
	}
	return s
}

// request is one of them, with up to two retries where the flow has any.
func (f *flow) request() {
	s := f.cumulative
	s.Requests++
	s.ReadBytes += 300
	s.WrittenBytes += 1200
	f.latency[metric.Index(time.Duration(float64(f.median)*math.Exp(rand.NormFloat64()*0.8)))]++
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
	own := "spiffe://cluster.local/ns/" + shop(p.namespace) + "/sa/"
	peer := "spiffe://cluster.local/ns/" + shop(f.namespace) + "/sa/"
	l := &api.Labels{
		Direction: api.Direction_DIRECTION_INBOUND, Security: api.Security_SECURITY_MTLS,
		OwnId: own + p.name, Protocol: "http/1", Port: 8080, Route: f.route,
	}
	if f.to != "" {
		l.Direction, l.Namespace, l.Service, l.Authority = api.Direction_DIRECTION_OUTBOUND,
			shop(f.namespace), f.to, f.to+"."+shop(f.namespace)+".svc.cluster.local:80"
		l.Peer = &api.Workload{Namespace: shop(f.namespace), Kind: "deployment", Name: f.to,
			Pod: f.to + "-1"}
		l.PeerId = peer + f.to
	} else if !f.unmeshed {
		l.PeerId = peer + f.from
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

// many are n services, one pod each, in teams of fifty: each calls some that come after it. A few
// do badly.
func many(n int) []*proxy {
	r := rand.New(rand.NewPCG(1, 1))
	team := func(i int) string { return fmt.Sprintf("team-%02d", i/50) }
	name := func(i int) string { return fmt.Sprintf("service-%03d", i) }
	out := make([]*proxy, n)
	for i := range out {
		out[i] = &proxy{namespace: team(i), name: name(i), pod: name(i) + "-1", host: byte(i / 100),
			late: time.Duration(i) * 5 * time.Millisecond}
	}
	for i, p := range out {
		for range 3 {
			to := i + 1 + r.IntN(8)
			if r.IntN(4) == 0 {
				to = i + 1 + r.IntN(n/2)
			}
			if to >= n {
				continue
			}
			f := flow{to: name(to), namespace: team(to), rate: 0.5 + 20*r.Float64()*r.Float64(),
				median: time.Duration(1+r.IntN(20)) * time.Millisecond}
			if r.IntN(40) == 0 {
				f.fails = 0.3 * r.Float64()
			}
			p.flows = append(p.flows, f)
		}
	}
	return out
}
