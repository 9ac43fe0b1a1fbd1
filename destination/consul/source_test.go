package consul

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"go.uber.org/goleak"

	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/test/output"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var trustDomain = spiffeid.RequireTrustDomainFromString("cluster.local")

// reading is a source that reads an agent.
type reading struct {
	*Source
	*agent
	registry *registry.Registry
	log      *output.Buffer
	synced   atomic.Bool
	stop     func()
}

func read1(t *testing.T, a *agent, changes ...func(*Source)) *reading {
	t.Helper()
	r := &reading{agent: a, registry: registry.New(), log: &output.Buffer{}}
	var err error
	r.Source, err = New(Config{Address: "consul.test:8500", Namespace: "consul",
		TrustDomain: trustDomain, Log: slog.New(slog.NewTextHandler(r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.client.http.Transport.(*http.Transport).DialContext = a.dial
	for _, c := range changes {
		c(r.Source)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, r.registry, func() { r.synced.Store(true) }) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { r.stop() })
	synctest.Wait()
	return r
}

// pass lets time pass, and what happens then be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// endpoints are those of a service that may be called, by their addresses.
func (r *reading) endpoints(service string) string {
	var out []string
	r.registry.Read(func(v *registry.View) {
		for _, slice := range v.Slices(registry.Name{Namespace: "consul", Name: service}) {
			for i := range slice.Endpoints {
				if ep := &slice.Endpoints[i]; ep.Ready {
					out = append(out, ep.Address.String())
				}
			}
		}
	})
	slices.Sort(out)
	return strings.Join(out, " ")
}

// named is the service that a DNS name stands for.
func (r *reading) named(host string) string {
	out := "none"
	r.registry.Read(func(v *registry.View) {
		if svc := v.ServiceNamed(host); svc != nil {
			out = svc.Key().String()
		}
	})
	return out
}

func (r *reading) want(t *testing.T, when, service, want string) {
	t.Helper()
	synctest.Wait()
	if got := r.endpoints(service); got != want {
		t.Errorf("%s: %s is at %q, want %q", when, service, got, want)
	}
}

// What the catalog and its checks say is known at once: no time passes.
func TestFollowsTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.set("web", made("web-1", "10.1.0.1", 8080), made("web-2", "10.1.0.2", 8081))
		r := read1(t, a)
		began := time.Now()
		if !r.synced.Load() || r.Missing() != nil {
			t.Errorf("synced: %v, missing: %v", r.synced.Load(), r.Missing())
		}
		r.want(t, "at first", "web", "10.1.0.1 10.1.0.2")
		a.set("web", made("web-1", "10.1.0.1", 8080),
			made("web-2", "10.1.0.2", 8081, says("critical")))
		r.want(t, "a check is critical", "web", "10.1.0.1")
		touched := r.registry.TakeTouched()
		if len(touched.Lost) == 0 {
			t.Error("a loss is told as any other change")
		}
		a.set("web", made("web-1", "10.1.0.1", 8080), made("web-2", "10.1.0.2", 8081))
		r.want(t, "it passes again", "web", "10.1.0.1 10.1.0.2")
		a.set("web", made("web-2", "10.1.0.2", 8081))
		r.want(t, "one is deregistered", "web", "10.1.0.2")
		a.set("db", made("db-1", "10.1.0.9", 5432))
		r.want(t, "another service", "db", "10.1.0.9")
		if got := r.named("web.service.consul") + " " + r.named("db.service.dc1.consul"); got !=
			"consul/web consul/db" {
			t.Errorf("the names stand for %s", got)
		}
		a.set("web")
		r.want(t, "the service is gone", "web", "")
		if got := r.named("web.service.consul"); got != "none" {
			t.Errorf("the name of a service that is gone stands for %s", got)
		}
		if spent := time.Since(began); spent > 0 {
			t.Errorf("that took %v", spent)
		}
	})
}

// The index of one answer is the next question's; one that has gone backwards is not.
func TestIndexes(t *testing.T) {
	for _, c := range []struct{ last, got, want uint64 }{
		{0, 7, 7}, {7, 9, 9}, {9, 7, 0}, {0, 0, 1}, {7, 0, 0}, {7, 7, 7},
	} {
		if next := nextIndex(c.last, c.got); next != c.want {
			t.Errorf("after %d, %d leads to %d, want %d", c.last, c.got, next, c.want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.set("web", made("web-1", "10.1.0.1", 8080))
		r := read1(t, a)
		a.restore(3)
		synctest.Wait()
		asked := a.asked("/v1/health/service/web")
		if len(asked) != 4 || asked[0] != "" || !strings.HasPrefix(asked[1], "index=11&wait=") ||
			asked[2] != "" || !strings.HasPrefix(asked[3], "index=3&wait=") {
			t.Errorf("asked with %q", asked)
		}
		for _, query := range asked[1:2] {
			wait, err := time.ParseDuration(query[strings.LastIndex(query, "=")+1:])
			if err != nil || wait > maxWait || wait < maxWait*7/8-time.Millisecond {
				t.Errorf("waits %v (%v)", wait, err)
			}
		}
		a.set("web", made("web-1", "10.1.0.2", 8080))
		r.want(t, "after the snapshot", "web", "10.1.0.2")
	})
}

// A query that ends without news is asked again, with the same index, and changes nothing.
func TestNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.set("web", made("web-1", "10.1.0.1", 8080))
		r := read1(t, a)
		before := r.Watches()
		r.registry.TakeTouched()
		time.Sleep(10 * maxWait)
		synctest.Wait()
		asked := a.asked("/v1/health/service/web")
		if n := len(asked); n < 10 || n > 14 || asked[1][:9] != asked[n-1][:9] {
			t.Errorf("asked %d times: %q", n, asked)
		}
		if touched := r.registry.TakeTouched(); len(touched.Lost)+len(touched.Rest) > 0 {
			t.Errorf("touched %v", touched)
		}
		if after := r.Watches(); !slices.Equal(before, after) {
			t.Errorf("watches were %v, and are %v", before, after)
		}
	})
}

// While Consul is away what is known stays; both ends of that are logged once. It may come back
// with another state and lower indexes.
func TestConsulIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.set("web", made("web-1", "10.1.0.1", 8080))
		a.set("db", made("db-1", "10.1.0.9", 5432))
		r := read1(t, a)
		a.stop()
		time.Sleep(5 * time.Minute)
		r.want(t, "away", "web", "10.1.0.1")
		for _, w := range r.Watches() {
			if !w.Failing {
				t.Errorf("%s is said to be good", w.Resource)
			}
		}
		a.restore(2)
		a.set("web", made("web-2", "10.1.0.2", 8080))
		a.set("db")
		a.start()
		pass(retryMax)
		r.want(t, "back", "web", "10.1.0.2")
		r.want(t, "back", "db", "")
		for _, w := range r.Watches() {
			if w.Failing {
				t.Errorf("%s is said to fail", w.Resource)
			}
		}
		for _, line := range []string{"Consul cannot be read", "Consul answers again"} {
			if n := strings.Count(r.log.String(), line); n != 1 {
				t.Errorf("%q is logged %d times:\n%s", line, n, r.log)
			}
		}
		if n := len(a.asked("/v1/catalog/services")); n > 10 {
			t.Errorf("the catalog was asked for %d times", n)
		}
	})
}

// An empty catalog has been read, and one that cannot be has not.
func TestWhatHasNotBeenRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		if r := read1(t, a); !r.synced.Load() {
			t.Error("an empty catalog is not read")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.set("web", made("web-1", "10.1.0.1", 8080))
		var refused atomic.Value
		refused.Store("/v1/catalog/services")
		a.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == refused.Load() {
				http.Error(w, "No cluster leader", http.StatusInternalServerError)
			}
			return r.URL.Path == refused.Load()
		}
		r := read1(t, a)
		missing := func(want string) {
			t.Helper()
			err := r.Missing()
			if r.synced.Load() || err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("missing %v, want %q (synced: %v)", err, want, r.synced.Load())
			}
		}
		missing("of Consul, the catalog cannot be read: it answers 500 Internal Server Error: " +
			"No cluster leader")
		refused.Store("/v1/health/service/web")
		pass(retryMax)
		missing("of Consul, service web cannot be read")
		refused.Store("")
		pass(retryMax)
		if !r.synced.Load() || r.Missing() != nil {
			t.Errorf("synced: %v, missing: %v", r.synced.Load(), r.Missing())
		}
	})
}

// Where there are more services than queries, they take turns, and no more are open at once.
func TestServicesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		for _, name := range strings.Fields("a b c d e f g h i j k l") {
			a.set(name, made(name+"-1", "10.1.0.1", 8080))
		}
		r := read1(t, a, func(s *Source) { s.queries = make(chan struct{}, 4) })
		pass(10 * time.Second)
		if !r.synced.Load() {
			t.Error("not all have been read: ", r.Missing())
		}
		for _, name := range strings.Fields("a f l") {
			a.set(name, made(name+"-1", "10.1.0.2", 8080))
		}
		time.Sleep(5 * turnWait) // 13 questions, 4 at once
		for _, name := range strings.Fields("a f l") {
			r.want(t, "a turn later", name, "10.1.0.2")
		}
		if a.most > 4 {
			t.Errorf("%d queries at once", a.most)
		}
	})
}

// What changes without end is not asked for without end, and the last state is seen.
func TestChurnIsReadAtARate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		r := read1(t, a)
		for i := range 10_000 {
			a.set("web", made("web-1", "10.1.0."+strconv.Itoa(i%250+1), 8080))
			time.Sleep(time.Millisecond)
		}
		a.set("web", made("web-1", "10.9.9.9", 8080))
		time.Sleep(time.Second)
		r.want(t, "at last", "web", "10.9.9.9")
		if n := len(a.asked("/v1/health/service/web")); n > 11*answersPerSecond+answerBurst+1 {
			t.Errorf("asked %d times in eleven seconds", n)
		}
	})
}

// Names that cannot be a part of a DNS name are left out, and so are those beyond the bound, but
// never one that is followed already. The log says so once.
func TestServicesThatAreLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.set("zebra", made("z", "10.1.0.1", 80))
		a.set("Web", made("w", "10.1.0.1", 80))
		a.set("a.b", made("w", "10.1.0.1", 80))
		r := read1(t, a)
		many := slices.Repeat([]string{"zebra"}, 1)
		for i := range maxServices {
			many = append(many, "s"+strconv.Itoa(i))
		}
		wanted := r.choose(many)
		if len(wanted) != maxServices || !wanted["zebra"] || !wanted["s0"] {
			t.Errorf("%d are followed, zebra: %v", len(wanted), wanted["zebra"])
		}
		if got := r.log.String(); strings.Count(got, "are left out") != 2 ||
			!strings.Contains(got, "first=\"[Web a.b]\"") {
			t.Errorf("logged %s", got)
		}
	})
}

// The token comes from its file, also after that has been replaced, and is in no log. A redirect is
// not followed: whoever answers with it would get the token.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		file := filepath.Join(t.TempDir(), "token")
		write := func(text string) {
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("secret-1\n")
		var answer atomic.Int64
		answer.Store(http.StatusForbidden)
		a.refuse = func(w http.ResponseWriter, r *http.Request) bool {
			switch {
			case r.Header.Get("X-Consul-Token") == "secret-2" && r.URL.Path != "/elsewhere":
				return false
			case r.URL.Path == "/elsewhere":
				t.Error("the redirect was followed")
			}
			w.Header().Set("Location", "http://other.test/elsewhere")
			http.Error(w, "Permission denied", int(answer.Load()))
			return true
		}
		r := read1(t, a, func(s *Source) { s.cfg.TokenFile = file; s.client.token = s.cfg.token })
		if err := r.Missing(); err == nil || !strings.Contains(err.Error(),
			"403 Forbidden: Permission denied (the token needs") {
			t.Errorf("missing %v", err)
		}
		answer.Store(http.StatusTemporaryRedirect)
		pass(retryMax)
		if err := r.Missing(); err == nil || !strings.Contains(err.Error(), "307") {
			t.Errorf("missing %v", err)
		}
		write("")
		pass(retryMax)
		if err := r.Missing(); err == nil ||
			!strings.Contains(err.Error(), "must be the one line") {
			t.Errorf("missing %v", err)
		}
		write("secret-2\n")
		pass(retryMax)
		if !r.synced.Load() {
			t.Error("not synced: ", r.Missing())
		}
		if strings.Contains(r.log.String(), "secret") {
			t.Errorf("the log has the token: %s", r.log)
		}
	})
}

// What the token may not read looks as if it were not there: that is said.
func TestFilteredAnswersAreSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAgent(t)
		a.refuse = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X-Consul-Results-Filtered-By-ACLs", "true")
			return false
		}
		r := read1(t, a)
		a.set("web", made("web-1", "10.1.0.1", 8080))
		synctest.Wait()
		if n := strings.Count(r.log.String(), "may not read all"); n != 1 {
			t.Errorf("logged %d times: %s", n, r.log)
		}
	})
}
