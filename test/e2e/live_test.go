//go:build e2e

package e2e

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

var live = flag.Duration("live", time.Second,
	"how soon a route must be live in every proxy, of 99 in 100 changes")

// labelled is a route that only says its version to the callers.
const labelled = `{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
	"metadata": {"name": "server"},
	"spec": {
		"parentRefs": [{"group": "", "kind": "Service", "name": "server", "port": 80}],
		"rules": [{
			"filters": [{"type": "ResponseHeaderModifier",
				"responseHeaderModifier": {"set": [{"name": "X-Version", "value": %q}]}}],
			"backendRefs": [{"name": "server", "port": 80}]
		}]
	}
}`

// change is a version of the route, and when the API server had taken it. Without a route the
// version is empty.
type change struct {
	version string
	at      time.Time
}

// A route that is made, changed or deleted is what every proxy goes by soon after the API server
// has answered, and no request is lost to it. The clocks are one machine's.
func TestARouteIsLiveSoon(t *testing.T) {
	ready(t)
	installGatewayAPI(t)
	const rounds, rate = 12, 170
	url := "http://server." + byHook
	callers := []string{byHook, byCLI, ownNamespace(t)}
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+callers[2]+" -f -")
	rolledOut(t, callers[2], "deployment/client", "deployment/server")
	var loads []*load
	for _, ns := range callers {
		loads = append(loads, startLoad(t, ns, rate, "-version", "X-Version", url))
	}
	a := newAPI(t)
	a.do(t, "POST", "", fmt.Sprintf(labelled, "first"))
	eventually(t, time.Minute, func() error { // destination has found the kind
		return call(t, byHook, url).says("first")
	})
	a.do(t, "DELETE", "/server", "")
	var changes []change
	tick := time.NewTicker(*live)
	defer tick.Stop()
	apply := func(version, method, path string) {
		body := ""
		if version != "" {
			body = fmt.Sprintf(labelled, version)
		}
		<-tick.C
		changes = append(changes, change{version, a.do(t, method, path, body)})
	}
	for i := range rounds {
		apply(fmt.Sprintf("%d-new", i), "POST", "")
		apply(fmt.Sprintf("%d-changed", i), "PATCH", "/server")
		apply("", "DELETE", "/server")
	}
	<-tick.C
	var delays []time.Duration
	for _, l := range loads {
		r := l.end(t)
		r.lostNothing(t)
		delays = append(delays, r.delays(t, changes)...)
	}
	slices.Sort(delays)
	p50, p99 := delays[len(delays)/2], delays[len(delays)*99/100]
	t.Logf("%d changes, each seen by %d proxies: live after %s (p50), %s (p99), %s (the last)",
		len(changes), len(loads), p50, p99, delays[len(delays)-1])
	if p99 > *live {
		t.Errorf("p99 %s, want at most %s", p99, *live)
	}
}

// says is nil for a whole answer that a version of the route has gone over.
func (a answer) says(version string) error {
	if got := a.header("X-Version"); got != version {
		return fmt.Errorf("version %q, want %q: %+v", got, version, a)
	}
	return a.succeeded()
}

// delays are how long after each change requests still began that the version before it decided.
func (r loaded) delays(t *testing.T, changes []change) (out []time.Duration) {
	t.Helper()
	fresh := 0
	for i, c := range changes {
		end, next := time.Now(), c
		if i+1 < len(changes) {
			next = changes[i+1] // it may be live before the API server has answered
			end = next.at
		}
		var delay time.Duration
		for _, s := range r.Seen {
			if s.At.Before(c.at) || !s.At.Before(end) {
				continue
			}
			if s.Version == c.version || s.Version == next.version {
				fresh++
				continue
			}
			delay = max(delay, s.At.Sub(c.at))
		}
		if delay > *live {
			t.Logf("version %q was not live %s after the API server had it", c.version, delay)
		}
		out = append(out, delay)
	}
	if fresh == 0 {
		t.Fatal("no request met any version of the route")
	}
	return out
}

// api asks the API server for HTTPRoutes, without a process for each question.
type api struct{ routes string }

func newAPI(t *testing.T) api {
	t.Helper()
	cmd := exec.Command("kubectl", "proxy", "--port=0")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr := line[strings.LastIndexByte(line, ' ')+1:]
	return api{"http://" + strings.TrimSpace(addr) +
		"/apis/gateway.networking.k8s.io/v1/namespaces/" + byHook + "/httproutes"}
}

// do returns when the API server had answered.
func (a api) do(t *testing.T, method, path, body string) time.Time {
	t.Helper()
	req, err := http.NewRequest(method, a.routes+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	defer resp.Body.Close()
	said, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 || !json.Valid(said) {
		t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, said, err)
	}
	return at
}
