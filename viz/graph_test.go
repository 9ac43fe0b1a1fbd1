package viz

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

// madeUp is a series of a made-up mesh, and what of it is true.
type madeUp struct {
	from, to *pod
	service  string
	route    string
	id       uint32
	each     uint64 // requests a second
	failing  uint64
	bucket   uint32
}

// bruteMesh is some workloads in three namespaces that call each other at constant rates, for 40 s.
func bruteMesh(t *testing.T, r *rand.Rand) (*mesh, []*madeUp) {
	m := newMesh(t)
	var pods []*pod
	for i := range 12 {
		name := fmt.Sprintf("w%d", i/2)
		pods = append(pods, m.pod(fmt.Sprintf("ns%d", i/4), name, fmt.Sprintf("%s-%d", name, i)))
	}
	var all []*madeUp
	for i := range 60 {
		from, to := pods[r.IntN(len(pods))], pods[r.IntN(len(pods))]
		c := &madeUp{from: from, to: to, id: uint32(i + 1), service: "svc-" + to.who.name,
			route: []string{"", "pay", "items"}[r.IntN(3)], each: 1 + r.Uint64N(20),
			bucket: uint32(r.IntN(metric.Buckets))}
		c.failing = r.Uint64N(c.each + 1)
		all = append(all, c)
	}
	for second := range uint64(40) {
		m.now = m.now.Add(time.Second)
		for _, p := range pods {
			var out []*api.Series
			for _, c := range all {
				if c.from == p {
					out = append(out, c.outbound(second+1))
				}
				if c.to == p {
					out = append(out, c.inbound(second+1))
				}
			}
			p.report(out...)
		}
	}
	return m, all
}

func (c *madeUp) outbound(seconds uint64) *api.Series {
	s := outbound(c.id, c.to, c.route)
	s.Labels.Namespace, s.Labels.Service = c.to.who.namespace, c.service
	s.Requests, s.Failures = c.each*seconds, c.failing*seconds
	s.Bucket, s.BucketCount = []uint32{c.bucket}, []uint64{c.each * seconds}
	return s
}

func (c *madeUp) inbound(seconds uint64) *api.Series {
	s := inbound(c.id+1000, c.each*seconds, c.failing*seconds, c.from.stream.who.id)
	s.Bucket, s.BucketCount = []uint32{c.bucket}, []uint64{c.each * seconds}
	return s
}

// end is what a pod is called in a grouping, where only some namespaces are open.
func (c *madeUp) end(p *pod, service string, q Query) string {
	ns := p.who.namespace
	folded := q.Group == GroupNamespace || q.Open != "" && !strings.Contains(q.Open, ns)
	switch {
	case folded:
		return "namespace/" + ns + "/" + ns
	case service != "":
		return "service/" + ns + "/" + service
	}
	return "deployment/" + ns + "/" + p.who.name
}

func TestGraphAgainstBruteForce(t *testing.T) {
	for seed := range uint64(5) {
		m, all := bruteMesh(t, rand.New(rand.NewPCG(seed, 1)))
		for _, q := range []Query{{}, {Group: GroupService}, {Group: GroupNamespace}, {Open: "ns1"},
			{Open: noNamespace}, {Group: GroupService, Open: "ns0,ns2"}, {Namespace: "ns0"}} {
			g, _, err := m.store.graph(m.now, q)
			if err != nil {
				t.Fatal(err)
			}
			checkGraph(t, g, q, all)
		}
	}
}

// truth is what is true of an edge, or of a node.
type truth struct {
	requests, failures uint64
	latency            []uint64
}

func (u *truth) add(c *madeUp) {
	if u.latency == nil {
		u.latency = make([]uint64, metric.Buckets)
	}
	u.requests += 40 * c.each
	u.failures += 40 * c.failing
	u.latency[c.bucket] += 40 * c.each
}

func (u *truth) agrees(f *GraphFigures) bool {
	p95 := float64(metric.Quantile(u.latency, 0.95)) / float64(time.Millisecond)
	return f.Requests == u.requests && f.Failures == u.failures &&
		f.WindowRequests == u.requests && f.WindowFailures == u.failures &&
		math.Abs(f.RPS-float64(u.requests)/40) < 1e-9 && near(f.P95Ms, p95) &&
		near(f.SuccessRate, 1-float64(u.failures)/float64(u.requests))
}

func checkGraph(t *testing.T, g *Graph, q Query, all []*madeUp) {
	t.Helper()
	edges, nodes := map[string]*truth{}, map[string]*truth{}
	// A workload that nobody calls has no service.
	called := map[string]bool{}
	for _, c := range all {
		called[c.to.who.namespace+c.to.who.name] = true
	}
	for _, c := range all {
		fromService, toService := "", ""
		if q.Group == GroupService {
			toService = c.service
			if called[c.from.who.namespace+c.from.who.name] {
				fromService = "svc-" + c.from.who.name
			}
		}
		from, to := c.end(c.from, fromService, q), c.end(c.to, toService, q)
		if q.Namespace != "" && c.from.who.namespace != q.Namespace &&
			c.to.who.namespace != q.Namespace {
			continue
		}
		if nodes[to] == nil {
			nodes[to] = &truth{}
		}
		nodes[to].add(c)
		if from == to {
			continue
		}
		k := from + ">" + to
		if edges[k] == nil {
			edges[k] = &truth{}
		}
		edges[k].add(c)
	}
	if len(g.Edges) != len(edges) {
		t.Errorf("%+v: %d edges, want %d", q, len(g.Edges), len(edges))
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		if want := edges[e.From+">"+e.To]; want == nil || !want.agrees(&e.GraphFigures) ||
			!e.Encrypted {
			t.Errorf("%+v: edge %+v, want %+v", q, e, want)
		}
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		// With one namespace others' nodes are there as ends only, and count all that they got.
		if want := nodes[n.ID]; want != nil && q.Namespace == "" && !want.agrees(&n.GraphFigures) {
			t.Errorf("%+v: node %+v, want %+v", q, n, want)
		}
	}
}

// A workload that is behind one service alone is known to be it; one that several have is of none.
func TestGraphKnowsWhoseWorkloadsAre(t *testing.T) {
	m := newMesh(t)
	web, v1, v2 := m.pod("shop", "web", "web-1"), m.pod("shop", "pay-v1", "pay-v1-1"),
		m.pod("shop", "pay-v2", "pay-v2-1")
	m.now = m.now.Add(10 * time.Second)
	call := func(id uint32, to *pod, service string) *api.Series {
		s := outbound(id, to, "")
		s.Labels.Service, s.Requests = service, 10
		return s
	}
	web.report(call(1, v1, "pay"), call(2, v2, "pay"), call(3, v2, "pay-preview"))
	v1.holds("aa", time.Minute, true) // as a proxy that destination has told something
	v2.report()
	g, _, err := m.store.graph(m.now, Query{})
	if err != nil || len(g.Nodes) != 3 {
		t.Fatalf("%+v, %v", g, err)
	}
	for _, n := range g.Nodes {
		if want := map[string]string{"pay-v1": "service/shop/pay"}[n.Name]; n.Service != want {
			t.Errorf("%s is behind %q, want %q", n.Name, n.Service, want)
		}
	}
}

// What a caller without a proxy sends is counted where it arrives, and what reached no endpoint
// goes to the service.
func TestGraphShowsWhatIsNotProtectedOrArrivesNowhere(t *testing.T) {
	m := newMesh(t)
	web, checkout := m.pod("shop", "web", "web-1"), m.pod("shop", "checkout", "checkout-1")
	m.now = m.now.Add(10 * time.Second)
	lost := outbound(2, checkout, "coupon")
	lost.Labels.Service, lost.Labels.Peer, lost.Labels.PeerId = "coupon", nil, ""
	lost.Labels.Security = api.Security_SECURITY_UNSPECIFIED
	lost.Requests, lost.Failures, lost.Faulted = 20, 20, 20
	good := outbound(1, checkout, "order")
	good.Requests = 100
	web.report(good, lost)
	checkout.report(inbound(1, 100, 0, web.stream.who.id), inbound(2, 30, 3, ""))
	g, _, err := m.store.graph(m.now, Query{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range g.Edges {
		got = append(got, fmt.Sprintf("%s>%s %d %s %d", e.From, e.To, e.WindowRequests, e.Security,
			e.Faulted))
	}
	slices.Sort(got)
	want := []string{
		"deployment/shop/web>deployment/shop/checkout 100 mtls 0",
		"deployment/shop/web>service/shop/coupon 20 none 20",
		"outside//without a proxy>deployment/shop/checkout 30 plaintext-unmeshed 0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("edges are %q", got)
	}
	if g.Proxies != 2 || g.Total.WindowRequests != 150 {
		t.Errorf("%d proxies, %d requests", g.Proxies, g.Total.WindowRequests)
	}
}

func TestGraphIsFiltered(t *testing.T) {
	v := New(Config{})
	m := &mesh{t, v.store, time.Now()}
	a, b, c := m.pod("shop", "a", "a-1"), m.pod("shop", "b", "b-1"), m.pod("shop", "c", "c-1")
	m.now = m.now.Add(time.Second)
	pay, items := outbound(1, b, "pay"), outbound(2, b, "items")
	pay.Requests, items.Requests = 10, 10
	slow := outbound(1, c, "")
	slow.Requests, slow.Failures = 10, 5
	a.report(pay, items)
	b.report(slow)
	c.report(inbound(1, 10, 5, b.stream.who.id))
	whole, err := v.graph(m.now, Query{})
	if err != nil || len(whole.Edges) != 2 {
		t.Fatalf("%+v, %v", whole, err)
	}
	for text, want := range map[string]string{
		"": "a>b b>c", "route=pay": "a>b", "ok<99": "b>c", "route~pay from=b": "", "c": "b>c",
		"to!=c rps>0": "a>b",
	} {
		g, err := v.graph(m.now, Query{Filter: text})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range g.Edges {
			got = append(got, strings.ReplaceAll(e.From+">"+e.To, "deployment/shop/", ""))
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%q shows %v, want %q", text, got, want)
		}
		for _, n := range g.Nodes { // a filter moves nothing
			i := slices.IndexFunc(whole.Nodes, func(o GraphNode) bool { return o.ID == n.ID })
			if whole.Nodes[i].X != n.X || whole.Nodes[i].Y != n.Y {
				t.Errorf("%q moves %s", text, n.ID)
			}
		}
	}
	for _, q := range []Query{{Filter: "size>3"}, {Group: "pod"}, {Resource: "house"}} {
		if _, err := v.graph(m.now, q); err == nil || statusOf(err) != 400 {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// thousand is a mesh of 1,000 services in 20 namespaces, with 3,000 calls between.
func thousand(t testing.TB, v *Server) *mesh {
	m := &mesh{nil, v.store, time.Now().Add(-time.Minute)}
	if tt, ok := t.(*testing.T); ok {
		m.t = tt
	}
	r := rand.New(rand.NewPCG(1, 1))
	var pods []*pod
	for i := range 1000 {
		name := fmt.Sprintf("service-%03d", i)
		pods = append(pods, m.pod(fmt.Sprintf("team-%02d", i/50), name, name+"-abcde"))
	}
	calls := make([][]*pod, len(pods))
	for i := range pods {
		for range 3 {
			calls[i] = append(calls[i], pods[min(len(pods)-1, i+1+r.IntN(120))])
		}
	}
	for second := range uint64(60) {
		m.now = m.now.Add(time.Second)
		for i, p := range pods {
			if second%5 != uint64(i%5) {
				continue
			}
			var out []*api.Series
			for j, to := range calls[i] {
				s := outbound(uint32(j+1), to, "")
				s.Labels.Namespace = to.who.namespace
				s.Requests = uint64(1+i%40) * (second + 1)
				s.Bucket, s.BucketCount = []uint32{uint32(50 + i%60)}, []uint64{s.Requests}
				out = append(out, s)
			}
			if err := p.try(out...); err != nil {
				t.Fatal(err)
			}
		}
	}
	return m
}

// So many are first shown as namespaces, which can be opened; what is left out is said.
func TestAThousandServices(t *testing.T) {
	v := New(Config{})
	m := thousand(t, v)
	g, err := v.graph(m.now, Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 20 || g.Nodes[0].Kind != GroupNamespace || len(g.Namespaces) != 20 {
		t.Errorf("%d nodes, the first is %+v", len(g.Nodes), g.Nodes[0])
	}
	if g, err = v.graph(m.now, Query{Open: "team-03"}); err != nil || len(g.Nodes) != 69 {
		t.Errorf("with one open: %d nodes, %v", len(g.Nodes), err)
	}
	if g, err = v.graph(m.now, Query{Open: allNamespaces}); err != nil ||
		len(g.Nodes) != maxGraphNodes || g.HiddenNodes != 1000-maxGraphNodes || g.HiddenEdges == 0 {
		t.Errorf("with all open: %d nodes, %d hidden, %v", len(g.Nodes), g.HiddenNodes, err)
	}
	if g, err = v.graph(m.now, Query{Open: allNamespaces, Most: maxListNodes}); err != nil ||
		len(g.Nodes) != 1000 {
		t.Errorf("as a list: %d nodes, %v", len(g.Nodes), err)
	}
}

func BenchmarkGraphOfAThousandServices(b *testing.B) {
	v := New(Config{})
	m := thousand(b, v)
	for b.Loop() {
		if _, err := v.graph(m.now, Query{}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCourseAgainstBruteForce(t *testing.T) {
	m, all := bruteMesh(t, rand.New(rand.NewPCG(7, 1)))
	m.now = m.now.Truncate(slotLength).Add(slotLength + time.Second) // the last slot is over
	m.store.history.turn(m.now)
	for _, q := range []Query{
		{Resource: "deploy/w1", Namespace: "ns0"}, {Resource: "svc/svc-w1", Namespace: "ns0"},
		{Resource: "svc", Route: "pay"}, {Resource: "ns", Step: 10 * time.Second},
	} {
		c, err := m.store.course(m.now, q)
		if err != nil {
			t.Fatal(err)
		}
		var want truth
		for _, one := range all {
			name := strings.Contains(q.Resource, "/")
			if (!name || one.to.who.name == "w1") && (q.Route == "" || one.route == q.Route) {
				want.add(one)
			}
		}
		var requests, failures uint64
		top := 0.0
		for i := range c.Requests {
			requests, failures = requests+c.Requests[i], failures+c.Failures[i]
			if c.RPS[i] != nil {
				top = max(top, *c.RPS[i])
			}
		}
		if requests != want.requests || failures != want.failures {
			t.Errorf("%+v: %d requests and %d failures, want %d and %d", q, requests, failures,
				want.requests, want.failures)
		}
		if rate := float64(want.requests) / 40; math.Abs(top-rate) > 1e-6 {
			t.Errorf("%+v: at most %v a second, want %v", q, top, rate)
		}
		if n := len(c.RPS); n != len(c.P99Ms) || n != len(c.Limited) || n != len(c.SuccessRate) ||
			c.StepSeconds < 5 || c.StepSeconds != 10 && q.Step != 0 {
			t.Errorf("%+v: %d points of %v s", q, n, c.StepSeconds)
		}
	}
}

// An hour is told in no more steps than a chart has room for, and they do not move.
func TestCourseOfAnHour(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	for i := range uint64(3700) {
		m.now = m.now.Add(time.Second)
		web.report(inbound(1, 10*(i+1), 0, ""))
	}
	q := Query{Resource: "deploy/web", Window: time.Hour}
	first, err := m.store.course(m.now, q)
	if err != nil || len(first.RPS) < 230 || len(first.RPS) > maxSteps+1 {
		t.Fatalf("%d steps, %v", len(first.RPS), err)
	}
	for i, v := range first.RPS {
		if v == nil || math.Abs(*v-10) > 1e-9 {
			t.Fatalf("step %d has %v", i, v)
		}
	}
	m.now = m.now.Add(5 * time.Second)
	next, err := m.store.course(m.now, q)
	if err != nil || next.Begin.Unix()%int64(next.StepSeconds) != 0 ||
		first.StepSeconds != next.StepSeconds {
		t.Errorf("steps begin at %v, and then at %v, %v", first.Begin, next.Begin, err)
	}
	if past, err := m.store.course(m.now, Query{Resource: "deploy/web", Window: time.Minute,
		Ago: 30 * time.Minute}); err != nil || len(past.RPS) != 12 {
		t.Errorf("a minute of the past has %d steps, %v", len(past.RPS), err)
	}
}

// The page's files are there for the gate, and to no browser that comes another way.
func TestThePagesFiles(t *testing.T) {
	h := New(Config{Log: slog.New(slog.DiscardHandler)}).Handler()
	get := func(path string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "127.0.0.1:8085"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for path, kind := range map[string]string{
		"/": "text/html", "/graph?open=shop": "text/html",
		"/workload/shop/deployment/web": "text/html", "/objectives": "text/html",
		"/static/main.js": "javascript", "/static/page.css": "text/css",
		"/static/icon.svg": "image/svg", "/static/views/graph.js": "javascript",
	} {
		w := get(path)
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Type"), kind) ||
			!strings.HasPrefix(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if w := get(path, "Sec-Fetch-Site", "none"); w.Code != 403 {
			t.Errorf("%s to a browser: %d", path, w.Code)
		}
	}
	for _, path := range []string{"/static/", "/static/views/", "/static/none.js", "/else"} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	for _, header := range []string{"Cookie", "Origin", "Referer", "Sec-Fetch-Mode"} {
		if w := get("/api/top", header, "x=http://127.0.0.1:8085"); w.Code != 403 ||
			!strings.Contains(w.Body.String(), "meshctl dashboard") {
			t.Errorf("with %s: %d %s", header, w.Code, w.Body)
		}
	}
}
