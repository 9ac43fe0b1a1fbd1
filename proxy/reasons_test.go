package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

// reasonScene is something that does not go plainly well, at a proxy whose log and metrics say so.
type reasonScene struct {
	t      *testing.T
	log    *output.Buffer
	caller *running
	client *http.Client
}

// ask makes a request to a service and does not care for its answer.
func (s *reasonScene) ask(method, service, path string, body io.Reader, fields ...string) {
	s.t.Helper()
	url := "http://" + s.caller.out[service] + path
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, body)
	check(s.t, err)
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	s.consistent(resp)
}

// consistent: an answer of the proxy's begins with the word that its log has.
func (s *reasonScene) consistent(resp *http.Response) {
	s.t.Helper()
	said := resp.Header.Get("Tulle-Error")
	if why, _ := outcome.Said(said); said != "" && why == outcome.Plain {
		s.t.Errorf("tulle-error names no reason: %q", said)
	}
}

func (s *reasonScene) get(service, path string) { s.ask("GET", service, path, nil) }

// wants waits until the log and the metrics of the caller's proxy have the reason.
func (s *reasonScene) wants(why outcome.Reason) {
	s.t.Helper()
	awaitLine(s.t, s.log, map[string]any{"tulle.reason": why, "tulle.direction": "outbound"})
	counted := fmt.Sprintf(`tulle_outcome_reasons_total{reason="%s"}`, why)
	if _, page, _ := get(s.t, asker, "http://"+s.caller.admin+"/metrics"); !strings.Contains(
		page, counted) {
		s.t.Errorf("the metrics do not say %s", counted)
	}
}

// troubled is an application of many troubles.
func troubled(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/hang", "/slow", "/try", "/gone":
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	case "/cut":
		panic(http.ErrAbortHandler)
	case "/often", "/once":
		w.WriteHeader(503)
	case "/upload":
		io.Copy(io.Discard, r.Body)
	}
}

// troubledMesh has a service for each way in which one cannot be reached, and rules for the one
// that can.
func troubledMesh(t *testing.T) *reasonScene {
	m, log := loggingMesh(t)
	// a machine that is slow must not make timeouts of what is none
	m.limits.DiscoveryWait, m.limits.HandshakeTimeout = await.Limit, await.Limit
	m.limits.BodyIdle, m.limits.HalfClosed = 300*time.Millisecond, 50*time.Millisecond
	m.limits.RetryBackoffMin, m.limits.RetryBackoffMax = time.Millisecond, time.Millisecond
	web := pod{"web-0", app(t, http.HandlerFunc(troubled)), loopback.Free()}
	m.service("web", web)
	m.service("closed", pod{"closed-0", loopback.Free(), ""})
	m.service("garbled", pod{"garbled-0", "127.0.0.1:1", serveTCP(t, func(nc net.Conn) {
		io.WriteString(nc, "no TLS at all\n")
		nc.Close()
	})})
	m.service("other", pod{"other-0", "127.0.0.1:1", web.mesh})
	m.declare("strict", "http", pod{"strict-0", web.app, ""})
	down := pod{"down-0", loopback.Free(), loopback.Free()}
	m.service("down", down)
	m.profile(`
  routes:
  - {name: slow, condition: {pathRegex: /slow}, timeout: 100ms}
  - {name: often, condition: {pathRegex: /often}, isRetryable: true}
  retryBudget: {retryRatio: 1, minRetriesPerSecond: 100, ttl: 10s}
`)
	m.proxy("web", web)
	m.proxy("down", down)
	m.through("client", troubledRoutes)
	s := &reasonScene{t: t, log: log, client: http1Client(t)}
	s.caller = m.caller("web", "nowhere", "closed", "garbled", "other", "down", "strict")
	logs(t, log, func() { s.get("web", "/") }, "outbound", "inbound")
	return s
}

// troubledRoutes adds to the routes what no profile says.
func troubledRoutes(r *api.Resource) {
	route := r.GetRoute()
	if route.GetResolution() != api.Resolution_RESOLUTION_FOUND {
		return
	}
	until := uint64(time.Now().Add(time.Hour).UnixMilli())
	backends := route.Backends
	route.Http = append([]*api.HTTPRule{
		{Match: below("/answer"), Backends: []*api.Backend{{Weight: 1, Answer: 500}}},
		{Match: below("/fault"), Backends: backends, Faults: []*api.Fault{
			{Status: 500, AbortShare: 1_000_000, UntilMs: until}}},
		{Match: below("/try"), Backends: backends, Timeouts: &api.Timeouts{TryMs: 50}},
	}, route.Http...)
}

// Each word of the list is seen where it belongs: in the access log, in tulle-error and in the
// metrics of the caller's proxy.
func TestEveryReasonHasItsScene(t *testing.T) {
	seen := map[outcome.Reason]bool{}
	s := troubledMesh(t)
	for why, scene := range map[outcome.Reason]func(*reasonScene){
		outcome.NoRoute:          func(s *reasonScene) { s.get("nowhere", "/") },
		outcome.ConnectFailed:    func(s *reasonScene) { s.get("closed", "/") },
		outcome.TLSFailed:        func(s *reasonScene) { s.get("garbled", "/") },
		outcome.IdentityMismatch: func(s *reasonScene) { s.get("other", "/") },
		outcome.RefusedStream:    func(s *reasonScene) { s.get("down", "/") },
		outcome.ResetByPeer:      func(s *reasonScene) { s.get("web", "/cut") },
		outcome.RequestTimeout:   func(s *reasonScene) { s.get("web", "/slow") },
		outcome.TryTimeout:       func(s *reasonScene) { s.get("web", "/try") },
		outcome.IdleTimeout:      pausedUpload,
		outcome.DeadlinePassed: func(s *reasonScene) {
			s.ask("POST", "web", "/late", nil, "content-type", "application/grpc",
				"grpc-timeout", "0n")
		},
		outcome.ClientGone:    clientGone,
		outcome.RetryLimit:    func(s *reasonScene) { s.get("web", "/often") },
		outcome.RouteAnswer:   func(s *reasonScene) { s.get("web", "/answer") },
		outcome.FaultInjected: func(s *reasonScene) { s.get("web", "/fault") },
		outcome.BadRequest:    notHTTP,
	} {
		seen[why] = true
		t.Run(why.String(), func(t *testing.T) {
			here := *s
			here.t = t
			scene(&here)
			here.wants(why)
		})
	}
	for why, scene := range map[outcome.Reason]func(*testing.T) *reasonScene{
		outcome.NoEndpoints: noEndpoints, outcome.ConnectTimeout: silentPeer,
		outcome.QueueFull: fullQueue, outcome.QueueTimeout: busyConnection,
		outcome.Overload: crowdedHeads, outcome.RetryBudget: emptyBudget,
		outcome.Draining: drainedProxy,
	} {
		seen[why] = true
		t.Run(why.String(), func(t *testing.T) {
			s := scene(t)
			awaitLine(t, s.log, map[string]any{"tulle.reason": why})
		})
	}
	for why, test := range seenElsewhere {
		seen[why] = true
		wantNamed(t, test, why)
	}
	for r := outcome.Plain + 1; r.String() != "unknown"; r++ {
		if !seen[r] {
			t.Errorf("%s has no scene", r)
		}
	}
}

// seenElsewhere names the files whose tests see the others. That a connection is for the proxy
// itself takes a redirection to say, which the e2e tests have.
var seenElsewhere = map[outcome.Reason]string{
	outcome.Denied:         "accesslog_test.go",
	outcome.ClusterLimit:   "cluster_limit_test.go",
	outcome.RateLimited:    "ratelimit_test.go",
	outcome.HeaderTooLarge: "head_toolong_test.go",
	outcome.Loop:           "../docs/accesslog.md",
}

func wantNamed(t *testing.T, file string, why outcome.Reason) {
	t.Helper()
	text, err := os.ReadFile(file)
	check(t, err)
	if !regexp.MustCompile(`\b` + why.String() + `\b`).Match(text) {
		t.Errorf("%s does not name %s", file, why)
	}
}

// pausedUpload stops in the middle of a body.
func pausedUpload(s *reasonScene) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "begun")
	s.ask("POST", "web", "/upload", r)
}

func clientGone(s *reasonScene) {
	ctx, cancel := context.WithCancel(s.t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.caller.out["web"]+"/gone", nil)
	check(s.t, err)
	go func() {
		if resp, err := s.client.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	await.True(s.t, "the request is under way", func() bool {
		return s.caller.p.Pending(authority("web")) > 0
	})
	cancel()
}

// notHTTP is something else on a port that is declared to be HTTP.
func notHTTP(s *reasonScene) {
	nc, err := net.Dial("tcp", s.caller.out["strict"])
	check(s.t, err)
	defer nc.Close()
	_, err = nc.Write([]byte("\x01\x02\x03\x04"))
	check(s.t, err)
	check(s.t, nc.SetReadDeadline(time.Now().Add(await.Limit)))
	io.Copy(io.Discard, nc)
}

// plainMesh is a mesh with an application that has no proxy, whose callers live by other limits.
func plainMesh(t *testing.T, change func(*config.Limits)) *reasonScene {
	m, log := loggingMesh(t)
	change(&m.limits)
	m.service("nobody")
	m.service("plain", pod{"plain-0", app(t, http.HandlerFunc(troubled)), ""})
	m.service("silent", pod{"silent-0", "127.0.0.1:1", serveTCP(t, func(nc net.Conn) {
		t.Cleanup(func() { nc.Close() })
	})})
	return &reasonScene{
		t: t, log: log, client: http1Client(t), caller: m.caller("plain", "nobody", "silent"),
	}
}

func noEndpoints(t *testing.T) *reasonScene {
	s := plainMesh(t, func(l *config.Limits) { l.DiscoveryWait = 50 * time.Millisecond })
	return s.until(outcome.NoEndpoints, func() { s.get("nobody", "/") })
}

// silentPeer accepts connections, and says nothing on them.
func silentPeer(t *testing.T) *reasonScene {
	s := plainMesh(t, func(l *config.Limits) {
		l.HandshakeTimeout, l.DiscoveryWait = 50*time.Millisecond, await.Limit
	})
	return s.until(outcome.ConnectTimeout, func() { s.get("silent", "/") })
}

// until asks until the log says why: the proxy may hear late that it is to write one.
func (s *reasonScene) until(why outcome.Reason, ask func()) *reasonScene {
	s.t.Helper()
	await.True(s.t, "the log says "+why.String(), func() bool {
		ask()
		return strings.Contains(s.log.String(), why.String())
	})
	return s
}

func fullQueue(t *testing.T) *reasonScene {
	s := plainMesh(t, func(l *config.Limits) { l.MaxOwnQueue = 0 })
	return s.until(outcome.QueueFull, func() { s.get("nobody", "/") })
}

func busyConnection(t *testing.T) *reasonScene {
	s := plainMesh(t, func(l *config.Limits) {
		l.MaxHTTP1Conns, l.DiscoveryWait = 1, 100*time.Millisecond
	})
	go s.get("plain", "/hang")
	return s.until(outcome.QueueTimeout, func() { s.get("plain", "/") })
}

func crowdedHeads(t *testing.T) *reasonScene {
	s := plainMesh(t, func(l *config.Limits) { l.LongHead, l.MaxHeads = 1, 1 })
	return s.until(outcome.Overload, func() { s.get("plain", "/") })
}

func emptyBudget(t *testing.T) *reasonScene {
	m, log := loggingMesh(t)
	m.profile(`
  routes:
  - {name: often, condition: {pathRegex: /often}, isRetryable: true}
  retryBudget: {retryRatio: 0, minRetriesPerSecond: 0, ttl: 10s}
`)
	_, caller, _ := m.pair(http.HandlerFunc(troubled))
	s := &reasonScene{t: t, log: log, client: http1Client(t), caller: caller}
	return s.until(outcome.RetryBudget, func() { s.get("web", "/often") })
}

// drainedProxy ends with a request under way.
func drainedProxy(t *testing.T) *reasonScene {
	m, log := loggingMesh(t)
	m.service("plain", pod{"plain-0", app(t, http.HandlerFunc(troubled)), ""})
	p := pod{"client-0", "127.0.0.1:1", loopback.Free()}
	m.write("pod-client.yaml", podYAML("client", p))
	caller, env := m.describe("client", p, "plain")
	env[config.EnvDrainGrace] = "50ms"
	caller.p, caller.stop = m.run(env)
	m.ready(caller.admin)
	s := &reasonScene{t: t, log: log, client: http1Client(t), caller: caller}
	logs(t, log, func() { s.get("plain", "/") }, "outbound")
	go s.get("plain", "/hang")
	await.True(t, "the request is under way", func() bool {
		return caller.p.Pending(authority("plain")) > 0
	})
	check(t, caller.stop())
	return s
}
