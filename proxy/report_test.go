package proxy_test

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/viz/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// startViz hears reports, and passes on each proxy's total of outbound requests.
func (m *testMesh) startViz(totals chan<- uint64) {
	m.t.Helper()
	src, err := m.dev.Source(m.t.Context(), spiffeid.RequireFromString(serverID("viz")))
	check(m.t, err)
	hear := func(_ any, s grpc.ServerStream) error {
		series := map[uint32]uint64{}
		outbound := map[uint32]bool{}
		for {
			var r api.ReportRequest
			if err := s.RecvMsg(&r); err != nil {
				return err
			}
			var total uint64
			for _, one := range r.Series {
				series[one.Id] = one.Requests
				outbound[one.Id] = outbound[one.Id] ||
					one.Labels.GetDirection() == api.Direction_DIRECTION_OUTBOUND
			}
			for id, n := range series {
				if outbound[id] {
					total += n
				}
			}
			totals <- total
			if err := s.SendMsg(&api.ReportResponse{IntervalMs: 60_000}); err != nil {
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
