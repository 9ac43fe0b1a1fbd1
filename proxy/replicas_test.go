package proxy_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/viz"
)

// vizReplica is a real viz at an address of loopback.
type vizReplica struct {
	m      *testMesh
	addr   string
	client *viz.Client
	stop   func()
}

// startReplicas has proxies find a viz at each of some addresses, where they listen on one port.
func (m *testMesh) startReplicas(ips ...string) (all []*vizReplica) {
	m.t.Helper()
	_, port, err := net.SplitHostPort(loopback.Free())
	check(m.t, err)
	m.viz = net.JoinHostPort("viz.test", port)
	m.lookUp = func(context.Context, string) ([]string, error) { return ips, nil }
	for _, ip := range ips {
		all = append(all, &vizReplica{m: m, addr: net.JoinHostPort(ip, port)})
	}
	return all
}

// start begins with an empty memory.
func (v *vizReplica) start() {
	v.m.t.Helper()
	src, err := v.m.dev.Source(v.m.t.Context(), spiffeid.RequireFromString(serverID("viz")))
	check(v.m.t, err)
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	check(v.m.t, err)
	v.client = viz.NewClient(queries.Addr().String())
	server := viz.New(viz.Config{Source: src, Log: v.m.log,
		TrustDomain: spiffeid.RequireTrustDomainFromString(trustDomain)})
	_, v.stop = v.m.background(v.addr, func(ctx context.Context, l net.Listener) error {
		return server.Serve(ctx, l, queries)
	})
}

// counts are the requests that the callers of web, and web's own proxies, have told of.
func (v *vizReplica) counts() (sent, received uint64) {
	v.m.t.Helper()
	count := func(resource string) (n uint64) {
		stat, err := v.client.Stat(v.m.t.Context(), viz.Query{Resource: resource})
		check(v.m.t, err)
		for _, row := range stat.Rows {
			n += row.Requests
		}
		return n
	}
	return count("svc/web"), count("pod/web-0")
}

// Each replica knows everything, to the request, whatever became of it or of the other one while
// the requests were made.
func TestReplicasLoseAndDoubleNothing(t *testing.T) {
	m := newMesh(t, 0)
	all := m.startReplicas("127.0.0.1", "127.0.0.2")
	for _, v := range all {
		v.start()
	}
	url, caller, callee := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var made atomic.Uint64
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for c := http1Client(t); ctx.Err() == nil; made.Add(1) {
			if status, _, _ := get(t, c, url); status != http.StatusOK {
				t.Errorf("a request ended with %d", status)
			}
		}
	}()
	heard := func(v *vizReplica, more uint64) func() bool {
		return func() bool {
			sent, received := v.counts()
			return sent > more && received > more
		}
	}
	await.True(t, "the first has heard", heard(all[0], 0))
	await.True(t, "the second has heard", heard(all[1], 0))
	all[0].stop()
	now := made.Load()
	await.True(t, "the second hears more", heard(all[1], now))
	all[0].start()
	await.True(t, "the first hears all again", heard(all[0], now))
	cancel()
	<-ended
	check(t, caller.stop())
	check(t, callee.stop())
	for i, v := range all {
		if sent, received := v.counts(); sent != made.Load() || received != made.Load() {
			t.Errorf("of %d requests replica %d knows %d and %d", made.Load(), i, sent, received)
		}
	}
}

// A replica that takes reports and never answers keeps the other one from nothing, and the end of
// the proxy no longer than the last report may take.
func TestAReplicaHangs(t *testing.T) {
	m := newMesh(t, 0)
	all := m.startReplicas("127.0.0.1", "127.0.0.2")
	all[0].start()
	src, err := m.dev.Source(t.Context(), spiffeid.RequireFromString(serverID("viz")))
	check(t, err)
	creds := credentials.NewTLS(spiffe.ServerConfig(src, []string{"h2"}, spiffe.AnyPeer))
	var hung sync.Map // the identities of the proxies
	m.background(all[1].addr, func(ctx context.Context, l net.Listener) error {
		s := grpc.NewServer(grpc.Creds(creds),
			grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
				from, _ := peer.FromContext(s.Context())
				hung.Store(from.AuthInfo.(credentials.TLSInfo).SPIFFEID.String(), true)
				<-s.Context().Done()
				return s.Context().Err()
			}))
		stop := context.AfterFunc(ctx, s.Stop)
		defer stop()
		return s.Serve(l)
	})
	url, caller, callee := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	await.True(t, "both report to the one that hangs", func() bool {
		_, isCaller := hung.Load(workloadID("client"))
		_, isCallee := hung.Load(workloadID("web"))
		return isCaller && isCallee
	})
	c := http1Client(t)
	for range 7 {
		get(t, c, url)
	}
	began := time.Now()
	check(t, caller.stop())
	check(t, callee.stop())
	if took := time.Since(began); took > 6*time.Second {
		t.Errorf("the proxies took %v to end", took)
	}
	if sent, received := all[0].counts(); sent != 7 || received != 7 {
		t.Errorf("of 7 requests it knows %d and %d", sent, received)
	}
}
