package viz

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/viz/api"
)

// calls is a proxy that calls a service, whose requests go to some backends.
func (m *mesh) calls(name, service string, backends ...string) *pod {
	m.t.Helper()
	p := m.pod("shop", "front", name)
	var all []*api.Series
	for i, backend := range backends {
		s := outbound(uint32(i+1), m.pod("shop", "web", "web-1"), "")
		s.Labels.Service, s.Labels.Backend = service, backend
		all = append(all, s)
	}
	p.report(all...)
	return p
}

// viz is one with the mesh's reports, and streams of records of these proxies.
func (m *mesh) viz(ctx context.Context, pods ...*pod) (*Server, []*watched) {
	v := &Server{store: m.store, hub: newHub()}
	var all []*watched
	for _, p := range pods {
		one := &watched{who: p.stream.who, ctx: ctx, counts: map[uint32]uint64{}}
		if err := v.hub.enter(one, len(pods)); err != nil {
			m.t.Fatal(err)
		}
		v.hub.news(one) // which taps there are
		all = append(all, one)
	}
	return v, all
}

// survey asks, and gives what each stream is asked meanwhile.
func (v *Server) surveyed(
	t *testing.T, now time.Time, what resource, answer func(asked func(*watched) []string),
) *Endpoints {
	t.Helper()
	done := make(chan *Endpoints, 1)
	go func() {
		out, err := v.endpoints(now, what)
		if err != nil {
			t.Error(err)
		}
		done <- out
	}()
	synctest.Wait()
	answer(func(one *watched) []string {
		m := v.hub.news(one)
		if len(m.GetEndpoints()) == 0 {
			return nil
		}
		one.told = uint64(m.Endpoints[0].Id) // of which the test makes no other use
		return m.Endpoints[0].Clusters
	})
	return <-done
}

const webV1, webV2 = "web-v1.shop.svc.cluster.local:80", "web-v2.shop.svc.cluster.local:80"

func standingIn(cluster, pod string, state api.Standing) *api.EndpointStanding {
	return &api.EndpointStanding{Cluster: cluster, Address: "10.0.0.1:80", State: state,
		InFlight: 3, Weight: 1, EwmaUs: 1200, Workload: &api.Workload{Namespace: "shop",
			Kind: "Deployment", Name: strings.TrimSuffix(pod, "-1"), Pod: pod}}
}

// Proxies that call a service are asked for what leads them there. What has no stream, or knows no
// such question, is silent.
func TestEndpointsAsProxiesSeeThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		m.now = time.Now()
		front, older := m.calls("front-1", "web", webV1, webV2), m.calls("front-2", "web", webV1)
		m.calls("front-3", "web", webV1)
		other := m.calls("front-4", "db", "db.shop.svc.cluster.local:80")
		v, streams := m.viz(t.Context(), front, older, other)
		began := time.Now()
		got := v.surveyed(t, m.now, resource{"service", "web", "shop"},
			func(asked func(*watched) []string) {
				if c := asked(streams[0]); !slices.Equal(slices.Sorted(slices.Values(c)),
					[]string{webV1, webV2}) {
					t.Errorf("front-1 is asked for %v", c)
				}
				if c := asked(streams[1]); !slices.Equal(c, []string{webV1}) {
					t.Errorf("front-2 is asked for %v", c)
				}
				if c := asked(streams[2]); c != nil {
					t.Errorf("front-4 is asked for %v", c)
				}
				ejected := standingIn(webV2, "web-v2-1", api.Standing_STANDING_EJECTED)
				ejected.UntilMs, ejected.EwmaUs = 5000, 0
				a := &api.EndpointsAnswer{Id: uint32(streams[0].told), Omitted: 7,
					Endpoints: []*api.EndpointStanding{ejected,
						standingIn(webV1, "web-v1-1", api.Standing_STANDING_READY)}}
				v.hub.answered(streams[0], []*api.EndpointsAnswer{a, a}) // the second is nobody's
				v.hub.answered(streams[2], []*api.EndpointsAnswer{a})    // was not asked
			})
		if waited := time.Since(began); waited != endpointsWait {
			t.Errorf("it has waited for %v", waited)
		}
		if !slices.Equal(got.Silent, []string{"shop/front-2", "shop/front-3"}) || got.Asked != 3 ||
			got.OmittedEndpoints != 7 || got.OmittedProxies != 0 || len(got.Rows) != 2 {
			t.Fatalf("the answer is %+v", got)
		}
		ready, ejected := got.Rows[0], got.Rows[1]
		if ready.Proxy != "shop/front-1" || ready.Service != "shop/web-v1:80" ||
			ready.Pod != "web-v1-1" || ready.Workload != "deployment/web-v1" ||
			*ready.EWMAMs != 1.2 || ready.InFlight != 3 || ready.State != "ready" ||
			ready.Until != nil {
			t.Errorf("one is %+v", ready)
		}
		if ejected.State != "ejected" || ejected.EWMAMs != nil ||
			!ejected.Until.Equal(began.Add(5*time.Second)) {
			t.Errorf("the other is %+v", ejected)
		}
		if len(v.hub.surveys) != 0 || len(streams[1].asked) != 0 {
			t.Error("the question is not over")
		}
	})
}

// Of a workload only its own endpoints are shown, whatever else is behind the same Service.
func TestEndpointsOfAWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		front := m.calls("front-1", "web", webV1)
		v, streams := m.viz(t.Context(), front)
		began := time.Now()
		got := v.surveyed(t, m.now, resource{"deployment", "web", "shop"},
			func(asked func(*watched) []string) {
				asked(streams[0])
				ready := api.Standing_STANDING_READY
				v.hub.answered(streams[0], []*api.EndpointsAnswer{{
					Id: uint32(streams[0].told), Endpoints: []*api.EndpointStanding{
						standingIn(webV1, "web-1", ready), standingIn(webV1, "old-1", ready)}}})
			})
		if len(got.Rows) != 1 || got.Rows[0].Pod != "web-1" || len(got.Silent) != 0 {
			t.Errorf("the answer is %+v", got)
		}
		if time.Since(began) != 0 {
			t.Error("it waits though all have answered")
		}
	})
}

// However many proxies call something, so many are asked, and viz asks so much at a time.
func TestQuestionsAboutEndpointsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMesh(t)
		var all []*pod
		for i := range maxAskedProxies + 3 {
			all = append(all, m.calls(fmt.Sprintf("front-%d", i), "web", webV1))
		}
		v, streams := m.viz(t.Context(), all...)
		for range api.MaxQuestions {
			go v.endpoints(m.now, resource{kind: "service", name: "web"})
		}
		synctest.Wait()
		if _, err := v.endpoints(m.now, resource{kind: "service", name: "web"}); err == nil ||
			statusOf(err) != http.StatusServiceUnavailable {
			t.Errorf("one more: %v", err)
		}
		asked := 0
		v.hub.mu.Lock()
		for _, one := range streams {
			if len(one.asked) == api.MaxQuestions {
				asked++
			}
		}
		v.hub.mu.Unlock()
		if asked != maxAskedProxies {
			t.Errorf("%d proxies are asked", asked)
		}
		time.Sleep(endpointsWait)
		synctest.Wait()
		got, err := v.endpoints(m.now, resource{kind: "service", name: "web"})
		if err != nil || got.OmittedProxies != 3 || len(got.Silent) != maxAskedProxies {
			t.Errorf("the answer is %+v, %v", got, err)
		}
	})
}

func TestAnswersThatNoProxyGivesAreRefused(t *testing.T) {
	of := func(change func(*api.EndpointStanding)) *api.RecordsRequest {
		one := standingIn(webV1, "web-1", api.Standing_STANDING_READY)
		change(one)
		return &api.RecordsRequest{Endpoints: []*api.EndpointsAnswer{{Id: 1,
			Endpoints: []*api.EndpointStanding{one}}}}
	}
	if err := checkRecords(testReporter, of(func(*api.EndpointStanding) {})); err != nil {
		t.Error(err)
	}
	for name, m := range map[string]*api.RecordsRequest{
		"no state":    of(func(e *api.EndpointStanding) { e.State = 0 }),
		"a new state": of(func(e *api.EndpointStanding) { e.State = 77 }),
		"a long name": of(func(e *api.EndpointStanding) {
			e.Workload.Pod = strings.Repeat("x", MaxLabelLength+1)
		}),
		"a long time": of(func(e *api.EndpointStanding) { e.UntilMs = 1 << 62 }),
		"no endpoint": {Endpoints: []*api.EndpointsAnswer{{
			Endpoints: []*api.EndpointStanding{nil}}}},
	} {
		if err := checkRecords(testReporter, m); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := of(func(*api.EndpointStanding) {})
	for range api.MaxEndpoints {
		m.Endpoints[0].Endpoints = append(m.Endpoints[0].Endpoints,
			proto.CloneOf(m.Endpoints[0].Endpoints[0]))
	}
	if err := checkRecords(testReporter, m); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("too many endpoints: %v", err)
	}
}

func TestWhatHasNoEndpoints(t *testing.T) {
	h := (&Server{store: newStore(views), hub: newHub()}).Handler()
	for query, want := range map[string]int{
		"":                       http.StatusBadRequest,
		"?resource=svc":          http.StatusBadRequest,
		"?resource=ns/shop":      http.StatusBadRequest,
		"?resource=sa/web":       http.StatusBadRequest,
		"?resource=house/web":    http.StatusBadRequest,
		"?resource=svc/web":      http.StatusOK,
		"?resource=deploy/x&all": http.StatusOK,
	} {
		r, w := httptest.NewRequest("GET", "http://127.0.0.1/api/endpoints"+query, nil),
			httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%q: %d %s", query, w.Code, w.Body)
		}
		if want == http.StatusOK && w.Body.String() != `{"rows":[],"silent":[],"asked":0,`+
			`"omittedProxies":0,"omittedEndpoints":0}`+"\n" {
			t.Errorf("%q: %s", query, w.Body)
		}
	}
}

func TestClusterService(t *testing.T) {
	for cluster, want := range map[string]string{
		webV1: "shop/web-v1:80", "web-0.web.shop.svc.cluster.local:80": "shop/web-0.web:80",
		"api.example.com:443": "api.example.com:443", "svc": "svc", "": "",
	} {
		if got := clusterService(cluster); got != want {
			t.Errorf("%s is %s", cluster, got)
		}
	}
}
