package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// agent is what is read here of a Consul agent, and blocks as the real one does (1.14.11): a query
// without an index is answered at once, one with an index once there is something newer, or its
// wait and a sixteenth of it are over. The catalog's index moves with every change, and a service's
// with its own.
type agent struct {
	mu       sync.Mutex
	index    uint64
	services map[string]*entry
	changed  chan struct{} // closed at each change
	requests []*http.Request
	open     int // queries
	most     int // of them at once
	refuse   func(w http.ResponseWriter, r *http.Request) bool
	away     bool
	conns    []net.Conn
	arrivals chan net.Conn
	server   *http.Server
	done     chan struct{}
}

type entry struct {
	index     uint64
	instances []map[string]any
}

// newAgent answers until the test ends.
func newAgent(t *testing.T) *agent {
	t.Helper()
	a := &agent{index: 10, services: map[string]*entry{}, changed: make(chan struct{}),
		arrivals: make(chan net.Conn), done: make(chan struct{})}
	a.server = &http.Server{Handler: a}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		if err := a.server.Serve(a); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		a.server.Close()
		<-serving
	})
	return a
}

// dial is a connection in memory, so that a test's clock stands still while nothing happens.
func (a *agent) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a.mu.Lock()
	away := a.away
	a.mu.Unlock()
	if away {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	select {
	case a.arrivals <- theirs:
		a.mu.Lock()
		a.conns = append(a.conns, theirs)
		a.mu.Unlock()
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *agent) Accept() (net.Conn, error) {
	select {
	case c := <-a.arrivals:
		return c, nil
	case <-a.done:
		return nil, net.ErrClosed
	}
}

func (a *agent) Close() error {
	close(a.done)
	return nil
}

func (a *agent) Addr() net.Addr { return &net.TCPAddr{} }

// stop is what becomes of a process that is killed; start is another with the same state.
func (a *agent) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = true
	for _, c := range a.conns {
		c.Close()
	}
	a.conns = nil
}

func (a *agent) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.away = false
}

// set makes the instances of a service what they are; none deregisters it.
func (a *agent) set(name string, instances ...map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index++
	a.services[name] = &entry{a.index, instances}
	if len(instances) == 0 {
		delete(a.services, name)
	}
	a.wakeLocked()
}

// restore is a snapshot that is older than what was there.
func (a *agent) restore(index uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.index = index
	for _, e := range a.services {
		e.index = index
	}
	a.wakeLocked()
}

func (a *agent) wakeLocked() {
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.enter(r)
	defer a.leave()
	a.mu.Lock()
	refuse := a.refuse
	a.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	last, _ := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	wait, _ := time.ParseDuration(r.URL.Query().Get("wait"))
	over := time.After(wait + wait/16)
	for {
		index, body, changed := a.state(r.URL.Path)
		if last == 0 || index != last {
			reply200(w, index, body)
			return
		}
		select {
		case <-changed:
		case <-over:
			reply200(w, index, body)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func reply200(w http.ResponseWriter, index uint64, body any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Consul-Index", strconv.FormatUint(index, 10))
	h.Set("X-Consul-Knownleader", "true")
	h.Set("X-Consul-Lastcontact", "0")
	_ = json.NewEncoder(w).Encode(body) // who asked may be gone
}

func (a *agent) enter(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, r)
	a.open++
	a.most = max(a.most, a.open)
}

func (a *agent) leave() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
}

// state is what a path says now.
func (a *agent) state(path string) (index uint64, body any, changed <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name, ok := strings.CutPrefix(path, "/v1/health/service/"); ok {
		if e := a.services[name]; e != nil {
			return e.index, e.instances, a.changed
		}
		return a.index, []any{}, a.changed
	}
	names := map[string][]string{}
	for name := range a.services {
		names[name] = []string{}
	}
	return a.index, names, a.changed
}

// asked are the questions about a path so far: their queries.
func (a *agent) asked(path string) (out []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if r.URL.Path == path {
			out = append(out, r.URL.RawQuery)
		}
	}
	return slices.Clone(out)
}

// change is made to an instance.
type change func(i map[string]any)

// made is an instance that passes its checks, as Consul describes it.
func made(id, address string, port int, changes ...change) map[string]any {
	i := map[string]any{
		"Node": map[string]any{"ID": "b6e0b0ee", "Node": "n1", "Address": "10.9.0.1",
			"Datacenter": "dc1", "TaggedAddresses": map[string]any{"lan": "10.9.0.1"},
			"Meta": map[string]any{"consul-network-segment": ""}},
		"Service": map[string]any{"ID": id, "Service": "web", "Tags": []string{},
			"Address": address, "Meta": nil, "Port": port,
			"Weights":           map[string]any{"Passing": 1, "Warning": 1},
			"EnableTagOverride": false, "PeerName": ""},
		"Checks": []any{status("serfHealth", "passing"), status("service:"+id, "passing")},
	}
	for _, c := range changes {
		c(i)
	}
	return i
}

func status(id, is string) map[string]any {
	return map[string]any{"Node": "n1", "CheckID": id, "Name": id, "Status": is, "Notes": "",
		"Output": "", "Type": "http", "Interval": "1s", "Timeout": ""}
}

// says is one more check.
func says(is string) change {
	return func(i map[string]any) { i["Checks"] = append(i["Checks"].([]any), status("more", is)) }
}

// has sets a field of the service.
func has(field string, value any) change {
	return func(i map[string]any) { i["Service"].(map[string]any)[field] = value }
}
