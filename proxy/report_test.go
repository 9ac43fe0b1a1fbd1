package proxy_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	destination "github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/viz/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

// startViz hears reports, the second of which comes a minute after the first unless the proxy ends
// before, and passes on each proxy's total of outbound requests.
func (m *testMesh) startViz(totals chan<- uint64) {
	m.t.Helper()
	m.hearReports(60_000, func() func(*api.ReportRequest) {
		requests := map[uint32]uint64{}
		outbound := map[uint32]bool{}
		return func(r *api.ReportRequest) {
			var total uint64
			for _, one := range r.Series {
				requests[one.Id] = one.Requests
				outbound[one.Id] = outbound[one.Id] ||
					one.Labels.GetDirection() == api.Direction_DIRECTION_OUTBOUND
			}
			for id, n := range requests {
				if outbound[id] {
					total += n
				}
			}
			totals <- total
		}
	})
}

// hearReports has a viz hear all reports, which proxies are to send as often. For each stream it
// asks for who takes them.
func (m *testMesh) hearReports(everyMs uint32, stream func() func(*api.ReportRequest)) {
	m.t.Helper()
	src, err := m.dev.Source(m.t.Context(), spiffeid.RequireFromString(serverID("viz")))
	check(m.t, err)
	hear := func(_ any, s grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(s); !strings.HasSuffix(method, "/Report") {
			return status.Error(codes.Unimplemented, method)
		}
		take := stream()
		for {
			var r api.ReportRequest
			if err := s.RecvMsg(&r); err != nil {
				return err
			}
			take(&r)
			if err := s.SendMsg(&api.ReportResponse{IntervalMs: everyMs}); err != nil {
				return err
			}
		}
	}
	creds := credentials.NewTLS(spiffe.ServerConfig(src, []string{"h2"}, spiffe.AnyPeer))
	m.viz, _ = m.background("", func(ctx context.Context, l net.Listener) error {
		s := grpc.NewServer(grpc.Creds(creds), grpc.UnknownServiceHandler(hear))
		stop := context.AfterFunc(ctx, s.Stop)
		defer stop()
		return s.Serve(l)
	})
}

// The requests since the last report are reported when the proxy ends.
func TestTheLastRequestsAreReported(t *testing.T) {
	m := newMesh(t, 0)
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	m.service("web", pod{"web-0", addr, ""})
	totals := make(chan uint64, 10)
	m.startViz(totals)
	caller := m.caller("web")
	if first := await.Receive(t, "the first report", totals); first != 0 {
		t.Fatalf("%d requests before any was made", first)
	}
	c := http1Client(t)
	for range 7 {
		get(t, c, "http://"+caller.out["web"])
	}
	check(t, caller.stop())
	select {
	case last := <-totals:
		if last != 7 {
			t.Errorf("%d requests were reported, want 7", last)
		}
	case <-time.After(time.Second):
		t.Error("the last requests were never reported")
	}
}

// What a proxy does on purpose is in its reports: a fault, an ejection, which the next report tells
// although no request goes there any more, and its end.
func TestWhatIsDoneOnPurposeIsReported(t *testing.T) {
	m := newMesh(t, 0)
	failing, well := &replica{}, &replica{}
	failing.failing.Store(true)
	m.service("web", pod{"web-0", app(t, failing), ""}, pod{"web-1", app(t, well), ""})
	var told series
	m.hearReports(20, told.stream)
	m.detecting(&destination.OutlierDetection{ConsecutiveFailures: 1, BaseEjectionMs: 500,
		MaxEjectionMs: 500})
	m.through("client", func(r *destination.Resource) {
		if route := r.GetRoute(); route != nil {
			route.Http = append(route.Http, &destination.HTTPRule{Faults: []*destination.Fault{{
				Status: 418, AbortShare: 500_000,
				UntilMs: uint64(time.Now().Add(time.Hour).UnixMilli()),
			}}})
		}
	})
	caller := m.caller("web")
	c, url := http1Client(t), "http://"+caller.out["web"]
	aborted := uint64(0)
	ask := func() {
		if status, _, _ := get(t, c, url); status == 418 {
			aborted++
		}
	}
	await.True(t, "an ejection is told", func() bool {
		ask()
		return told.ejected("web-0", 1, 2) && told.ejected("web-1", 0, 2)
	})
	failing.failing.Store(false)
	await.True(t, "and its end", func() bool {
		ask()
		return told.ejected("web-0", 0, 2)
	})
	await.True(t, "the faults are told", func() bool { return told.faulted() == aborted })
	if n := told.reason("fault_injected"); n != aborted {
		t.Errorf("%d requests are told to have failed for a fault, want %d", n, aborted)
	}
	if aborted == 0 {
		t.Error("there was no fault")
	}
}

// series are what a proxy has told, by the pod of the other side. Whoever was not reached has none.
type series struct {
	mu    sync.Mutex // guards what follows
	byPod map[string]*api.Series
}

// stream takes the reports of one, which is to be the only one that has outbound series.
func (s *series) stream() func(*api.ReportRequest) {
	pods := map[uint32]string{}
	return func(r *api.ReportRequest) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, one := range r.Series {
			if one.Labels.GetDirection() == api.Direction_DIRECTION_OUTBOUND {
				pods[one.Id] = one.Labels.GetPeer().GetPod()
			}
			if pod, outbound := pods[one.Id]; outbound {
				if s.byPod == nil {
					s.byPod = map[string]*api.Series{}
				}
				s.byPod[pod] = one
			}
		}
	}
}

func (s *series) ejected(pod string, ejected, endpoints uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.byPod[pod]
	return one != nil && one.Ejected == ejected && one.Endpoints == endpoints
}

func (s *series) reason(word string) (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.byPod {
		for _, r := range one.Reasons {
			if r.Reason == word {
				n += r.Count
			}
		}
	}
	return n
}

func (s *series) faulted() (n uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.byPod {
		n += one.Faulted
	}
	return n
}
