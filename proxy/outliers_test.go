package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// replica is an application that may fail.
type replica struct {
	asked   atomic.Int32
	failing atomic.Bool
}

func (r *replica) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	r.asked.Add(1)
	if r.failing.Load() {
		w.WriteHeader(500)
	}
}

// replicas are three meshed applications of one service, of which the caller's proxy ejects those
// that fail.
func replicas(t *testing.T, o *api.OutlierDetection) (all [3]*replica, caller *running) {
	t.Helper()
	m := newMesh(t, 0)
	var pods []pod
	for i := range all {
		all[i] = &replica{}
		pods = append(pods, pod{fmt.Sprint("web-", i), app(t, all[i]), loopback.Free()})
	}
	m.service("web", pods...)
	for _, p := range pods {
		m.proxy("web", p)
	}
	m.detecting(o)
	return all, m.caller("web")
}

// detecting has the caller's proxy detect outliers.
func (m *testMesh) detecting(o *api.OutlierDetection) {
	m.t.Helper()
	if m.destDue {
		m.startDestination()
	}
	m.through("client", func(r *api.Resource) {
		if c := r.GetCluster(); c != nil {
			c.OutlierDetection = o
			// whatever failed is forgotten at once: else few would ask there
			c.Balancer = &api.Cluster_Ewma{Ewma: &api.EWMA{DefaultRttMs: 1, DecayMs: 1}}
		}
	})
}

// pull sends requests one after the other, from several callers, until stop is called.
func pull(t *testing.T, url string) (stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	for range 4 {
		c := http1Client(t)
		all.Go(func() {
			for !done.Load() {
				resp, err := c.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	return sync.OnceFunc(func() {
		done.Store(true)
		await.Return(t, "the callers have stopped", all.Wait)
	})
}

// says reports whether a proxy's metrics have a line.
func says(t *testing.T, r *running, line string) bool {
	_, page, _ := get(t, asker, "http://"+r.admin+"/metrics")
	return strings.Contains(page, "\n"+line+"\n")
}

// Under load, of three replicas one fails: it is left alone but for a probe now and then, and once
// it is well one of those brings it back.
func TestAReplicaThatFailsIsLeftAloneUnderLoad(t *testing.T) {
	const failures = 5
	all, caller := replicas(t, &api.OutlierDetection{ConsecutiveFailures: failures,
		BaseEjectionMs: 500, MaxEjectionMs: 1000})
	all[0].failing.Store(true)
	defer pull(t, "http://"+caller.out["web"])()
	ejected := fmt.Sprintf("tulle_endpoints_ejected{backend=%q} ", authority("web"))
	await.True(t, "the replica is ejected", func() bool { return says(t, caller, ejected+"1") })
	before, others := all[0].asked.Load(), all[1].asked.Load()
	began := time.Now()
	await.True(t, "it is probed, in vain", func() bool { return all[0].asked.Load() >= before+2 })
	// Two probes cannot come sooner than the base after each other. What was under way when it was
	// ejected may be among them: one of each caller.
	if probes := int32(time.Since(began)/(500*time.Millisecond)) + 1; all[0].asked.Load() >
		before+probes+4 {
		t.Errorf("it was asked %d times in %v", all[0].asked.Load()-before, time.Since(began))
	}
	if all[1].asked.Load() == others {
		t.Error("nobody asks the others")
	}
	all[0].failing.Store(false)
	await.True(t, "it is back", func() bool { return says(t, caller, ejected+"0") })
	back := all[0].asked.Load()
	await.True(t, "it has its share", func() bool { return all[0].asked.Load() > back+20 })
}

// When all fail, and go on failing, somebody is always asked.
func TestNotAllReplicasAreEjected(t *testing.T) {
	all, caller := replicas(t, &api.OutlierDetection{ConsecutiveFailures: 1,
		BaseEjectionMs: 60_000, MaxEjectedPercent: 100})
	for _, r := range all {
		r.failing.Store(true)
	}
	url := "http://" + caller.out["web"]
	ejected := fmt.Sprintf("tulle_endpoints_ejected{backend=%q} 2", authority("web"))
	c := http1Client(t)
	await.True(t, "two are ejected", func() bool {
		get(t, c, url)
		return says(t, caller, ejected)
	})
	before := all[0].asked.Load() + all[1].asked.Load() + all[2].asked.Load()
	for range 10 {
		if status, body, _ := get(t, c, url); status != 500 {
			t.Errorf("answered by %d %s", status, body)
		}
	}
	if n := all[0].asked.Load() + all[1].asked.Load() + all[2].asked.Load(); n != before+10 {
		t.Errorf("%d of 10 requests reach a replica", n-before)
	}
	if !says(t, caller, ejected) {
		t.Error("not two of three are ejected")
	}
}

// Connections that go away, however many, are no failure of their endpoint.
func TestConnectionsThatGoAwayEjectNobody(t *testing.T) {
	storm := &framed{on: func(c *framedConn, id uint32) {
		if id == 1 {
			c.answer(id)
			return
		}
		c.write(func() { c.WriteGoAway(id-2, http2.ErrCodeNo, nil) })
	}}
	well := &framed{on: func(c *framedConn, id uint32) { c.answer(id) }}
	m := newMesh(t, 0)
	m.service("web", pod{"web-0", storm.serve(t), ""}, pod{"web-1", well.serve(t), ""})
	m.detecting(&api.OutlierDetection{ConsecutiveFailures: 1, BaseEjectionMs: 60_000})
	caller := m.caller("web")
	c, url := http2Client(t), "http://"+caller.out["web"]
	await.True(t, "ten connections have gone away", func() bool {
		if status := post(t, c, url); status != 200 {
			t.Errorf("answered by %d", status)
		}
		return storm.conns.Load() > 10
	})
	_, page, _ := get(t, asker, "http://"+caller.admin+"/metrics")
	if strings.Contains(page, "tulle_endpoint_ejections_total{") {
		t.Errorf("an endpoint is ejected, or was to be:\n%s", page)
	}
}
