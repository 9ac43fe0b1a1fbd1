//go:build real

package contract

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/consul"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

var consulBinary = flag.String("consul", "../../bin/consul", "Consul, as make bin/consul builds it")

// realConsul is one server of Consul on loopback, which keeps its state where it is restarted.
type realConsul struct {
	t    *testing.T
	dir  string
	addr string // of its HTTP API
	args []string
	said output.Tail
	cmd  *exec.Cmd
}

func startRealConsul(t *testing.T) *realConsul {
	t.Helper()
	c := &realConsul{t: t, dir: t.TempDir(), addr: loopback.Free()}
	port := func(addr string) string {
		_, port, err := net.SplitHostPort(addr)
		check(t, err)
		return port
	}
	c.args = []string{"agent", "-server", "-bootstrap-expect=1", "-node=n1", "-bind=127.0.0.1",
		"-client=127.0.0.1", "-data-dir=" + c.dir, "-http-port=" + port(c.addr),
		"-server-port=" + port(loopback.Free()), "-serf-lan-port=" + port(loopback.Free()),
		"-serf-wan-port=-1", "-dns-port=-1", "-grpc-port=-1",
		"-hcl=performance { raft_multiplier = 1 }"}
	c.start()
	t.Cleanup(c.kill)
	return c
}

func (c *realConsul) start() {
	c.t.Helper()
	c.cmd = exec.Command(*consulBinary, c.args...)
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	if err := c.cmd.Start(); err != nil {
		c.t.Fatalf("%v (make bin/consul builds it)", err)
	}
	await.True(c.t, "Consul has a leader", func() bool {
		leader, err := c.call(http.MethodGet, "/v1/status/leader", nil)
		return err == nil && len(strings.Trim(leader, "\"\n")) > 0
	})
}

func (c *realConsul) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait() // killed: an error
}

func (c *realConsul) call(method, path string, body any) (string, error) {
	text, err := json.Marshal(body)
	check(c.t, err)
	req, err := http.NewRequest(method, "http://"+c.addr+path, bytes.NewReader(text))
	check(c.t, err)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s %s", method, path, resp.Status, said)
	}
	return string(said), err
}

// register makes an application an instance of a service, with a check every second.
func (c *realConsul) register(service string, app *application, meta map[string]string) {
	c.t.Helper()
	addr := netip.MustParseAddrPort(app.addr)
	_, err := c.call(http.MethodPut, "/v1/agent/service/register", map[string]any{
		"ID": app.name, "Name": service, "Address": addr.Addr().String(), "Port": addr.Port(),
		"Tags": []string{"v1"}, "Meta": meta,
		"Check": map[string]any{"HTTP": "http://" + app.addr + "/", "Interval": "1s",
			"Timeout": "1s", "Status": "passing"},
	})
	check(c.t, err)
}

func (c *realConsul) deregister(id string) {
	c.t.Helper()
	_, err := c.call(http.MethodPut, "/v1/agent/service/deregister/"+id, nil)
	check(c.t, err)
}

// passes says whether Consul's own API has a passing instance.
func (c *realConsul) passes(service, id string) bool {
	said, err := c.call(http.MethodGet, "/v1/health/service/"+service+"?passing", nil)
	return err == nil && strings.Contains(said, `"ID": "`+id+`"`) ||
		strings.Contains(said, `"ID":"`+id+`"`)
}

// application answers with its name, and says as whom it was called.
type application struct {
	name, addr string
	server     *httptest.Server
}

func startApplication(t *testing.T, name string) *application {
	t.Helper()
	a := &application{name: name, addr: loopback.Free()}
	a.start(t)
	t.Cleanup(func() { a.server.Close() })
	return a
}

func (a *application) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", a.addr)
	check(t, err)
	a.server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, a.name+" "+r.Header.Get("tulle-client-id"))
		})}}
	a.server.Start()
}

// shopping is a mesh that has Consul beside files.
type shopping struct {
	*mesh
	consul      *realConsul
	destination *destination.Destination
	addr        string
	metrics     *prometheus.Registry
}

func newShopping(t *testing.T) *shopping {
	t.Helper()
	s := &shopping{mesh: newMesh(t), consul: startRealConsul(t), metrics: prometheus.NewRegistry()}
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "shop.yaml"), []byte(shop), 0o600))
	source, err := consul.New(consul.Config{Address: s.consul.addr, Namespace: consul.Namespace,
		TrustDomain: trustDomain, Loopback: true, Log: s.log})
	check(t, err)
	s.destination = destination.New(destination.Config{
		Mesh: destination.Mesh{TrustDomain: trustDomain, ClusterDomain: domain, LocalMesh: true,
			Zones: []string{consul.Zone}},
		Source:   destination.Sources{&files.Source{Dir: dir, Log: s.log}, source},
		Identity: s.source(serverID("destination")), Log: s.log, Metrics: s.metrics,
	})
	s.addr = s.serve(s.destination.Serve)
	return s
}

// answers are the endpoints that destination tells of a name.
func (s *shopping) answers(authority string) string {
	r := httptest.NewRequest(http.MethodGet,
		"/resources?"+url.Values{"authority": {authority}}.Encode(), nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.destination.Diagnostics().ServeHTTP(w, r)
	var told struct {
		Resources []struct {
			Endpoints *struct {
				Endpoints []struct{ Address string }
			}
		}
	}
	if json.Unmarshal(w.Body.Bytes(), &told) != nil {
		return w.Body.String()
	}
	var out []string
	for _, r := range told.Resources {
		if r.Endpoints != nil {
			for _, ep := range r.Endpoints.Endpoints {
				out = append(out, ep.Address)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// until waits for an answer, and says how long that took.
func (s *shopping) until(authority string, want ...string) time.Duration {
	s.t.Helper()
	began := time.Now()
	slices.Sort(want)
	await.True(s.t, authority+" is at "+strings.Join(want, " "), func() bool {
		return s.answers(authority) == strings.Join(want, " ")
	})
	return time.Since(began)
}

// called is who answers a caller's request.
func called(t *testing.T, listener string) string {
	t.Helper()
	resp, err := http.Get("http://" + listener + "/")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	check(t, err)
	if resp.StatusCode != http.StatusOK {
		return resp.Status + " " + resp.Header.Get("tulle-error")
	}
	return string(text)
}

// failing is how many kinds of things cannot be read, by the metric.
func (s *shopping) failing() (n float64) {
	s.t.Helper()
	families, err := s.metrics.Gather()
	check(s.t, err)
	for _, family := range families {
		if family.GetName() == "tulle_destination_watch_failing" {
			for _, m := range family.GetMetric() {
				n += m.GetGauge().GetValue()
			}
		}
	}
	return n
}

// soon is how late what Consul knows may be known to proxies. It takes milliseconds; the rest is
// for a machine with more to do.
const soon = 3 * time.Second

// A real Consul, a real destination, real proxies: what its checks say decides, what is
// deregistered is gone, and while it is away what is known stays.
func TestRealConsul(t *testing.T) {
	s := newShopping(t)
	one, two := startApplication(t, "web-1"), startApplication(t, "web-2")
	s.consul.register("web", one, nil)
	s.consul.register("web", two, nil)
	s.until("web.service.consul", one.addr, two.addr)
	s.until("v1.web.service.dc1.consul", one.addr, two.addr)
	caller := s.start(setup{account: "web", pod: "dev", destination: s.addr,
		upstreams: []string{"web.service.consul:80"}})
	listener := caller.out["web.service.consul:80"]
	answered := map[string]bool{}
	await.True(t, "both are called", func() bool {
		answered[called(t, listener)] = true
		return answered["web-1 "] && answered["web-2 "]
	})

	one.server.Close()
	await.True(t, "the check fails", func() bool { return !s.consul.passes("web", "web-1") })
	if late := s.until("web.service.consul", two.addr); late > soon {
		t.Errorf("destination told of it %v later", late)
	} else {
		t.Logf("a failed check: %v", late)
	}
	one.start(t)
	s.until("web.service.consul", one.addr, two.addr)
	s.consul.deregister("web-2")
	if late := s.until("web.service.consul", one.addr); late > soon {
		t.Errorf("destination told of a deregistration %v later", late)
	} else {
		t.Logf("a deregistration: %v", late)
	}
	s.restart(t, listener, one)
}

// restart kills Consul and starts it again.
func (s *shopping) restart(t *testing.T, listener string, was *application) {
	t.Helper()
	s.consul.kill()
	await.True(t, "Consul is known to be away", func() bool { return s.failing() == 2 })
	for range 50 {
		if got := called(t, listener); got != was.name+" " {
			t.Fatalf("while Consul is away: %s", got)
		}
	}
	s.consul.start()
	next := startApplication(t, "web-3")
	s.consul.register("web", next, nil)
	s.consul.deregister(was.name)
	s.until("web.service.consul", next.addr)
	await.True(t, "the new one is called", func() bool { return called(t, listener) == "web-3 " })
	await.True(t, "Consul is known to be back", func() bool { return s.failing() == 0 })
	s.consul.deregister(next.name)
	await.True(t, "the name is gone", func() bool {
		return strings.HasPrefix(called(t, listener), "503 ")
	})
	for _, line := range []string{"Consul cannot be read", "Consul answers again"} {
		if n := strings.Count(s.said.String(), line); n != 1 {
			t.Errorf("%q was logged %d times", line, n)
		}
	}
}
