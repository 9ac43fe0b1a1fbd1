package load

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/test/demo/app"
)

// Run is a number of requests of one kind.
type Run struct {
	Path     string `json:"path"`
	Post     bool   `json:"post"` // with the marker in the body
	Requests int    `json:"requests"`
	Rate     int    `json:"rate"` // per second; 0: as fast as the workers can
	Workers  int    `json:"workers"`
}

// Bounds of a run, so that a slip of the finger does not become an attack.
const (
	maxRequests = 1_000_000
	maxWorkers  = 256
	// MaxRate is beyond what one machine can do with two proxies on the way.
	MaxRate = 100_000
)

func (r *Run) check() error {
	switch {
	case !strings.HasPrefix(r.Path, "/"):
		return fmt.Errorf("path %q must begin with /", r.Path)
	case r.Requests < 1 || r.Requests > maxRequests:
		return fmt.Errorf("requests must be from 1 to %d, not %d", maxRequests, r.Requests)
	case r.Workers < 1 || r.Workers > maxWorkers:
		return fmt.Errorf("workers must be from 1 to %d, not %d", maxWorkers, r.Workers)
	case r.Rate < 0 || r.Rate > MaxRate:
		return fmt.Errorf("rate must be from 0 to %d, not %d", MaxRate, r.Rate)
	}
	return nil
}

// requestTimeout is beyond every timeout of the demo's profiles: a request that meets it was
// forgotten by somebody.
const requestTimeout = 30 * time.Second

// Generator sends requests to one URL and counts them all.
type Generator struct {
	url    string
	client *http.Client
	log    *slog.Logger
	total  *tally
}

// New makes a Generator; it sends nothing yet.
func New(url string, log *slog.Logger) *Generator {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = maxWorkers
	return &Generator{
		url, &http.Client{Transport: transport, Timeout: requestTimeout}, log, newTally(),
	}
}

// Run sends a run and returns what came of it, also of a part when the context ends.
func (g *Generator) Run(ctx context.Context, r Run) (Counts, error) {
	if err := r.check(); err != nil {
		return Counts{}, err
	}
	t, begin := newTally(), time.Now()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range r.Workers {
		workers.Go(func() {
			for {
				n := next.Add(1) - 1
				if n >= int64(r.Requests) || !due(ctx, begin, n, r.Rate) {
					return
				}
				o := g.send(ctx, r)
				t.add(o)
				g.total.add(o)
			}
		})
	}
	workers.Wait()
	return t.snapshot(), ctx.Err()
}

// due waits for the time of the nth request; false: the context ended first.
func due(ctx context.Context, begin time.Time, n int64, rate int) bool {
	if rate == 0 {
		return ctx.Err() == nil
	}
	wait := time.Until(begin.Add(time.Duration(n) * time.Second / time.Duration(rate)))
	if wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// send makes one request and reads its whole answer.
func (g *Generator) send(ctx context.Context, r Run) (o outcome) {
	o.start = time.Now()
	defer func() { o.end = time.Now() }()
	method, body := http.MethodGet, io.Reader(nil)
	if r.Post {
		method, body = http.MethodPost, strings.NewReader(app.Marker)
	}
	// A request that has begun is finished, or else the two sides would count it differently.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, g.url+r.Path, body)
	if err != nil {
		o.err = err
		return o
	}
	resp, err := g.client.Do(req)
	if err != nil {
		o.err = err
		return o
	}
	defer resp.Body.Close()
	o.status, o.version = resp.StatusCode, resp.Header.Get(app.VersionHeader)
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		o.err = err
	}
	return o
}

// mix is what the background sends, in turn: mostly what works, some of what does not.
var mix = [...]Run{
	{Path: "/cart"}, {Path: "/pay", Post: true}, {Path: "/stock"}, {Path: "/delivery"},
	{Path: "/pay", Post: true}, {Path: "/stock"}, {Path: "/cart", Post: true}, {Path: "/search"},
	{Path: "/stock"}, {Path: "/broken"},
	{Path: "/cart"}, {Path: "/pay", Post: true}, {Path: "/coupon"}, {Path: "/delivery"},
	{Path: "/pay", Post: true}, {Path: "/stock"}, {Path: "/cart"}, {Path: "/pay", Post: true},
	{Path: "/stock"}, {Path: "/slow"},
}

// maxBackground bounds the background's requests on the way: a slow mesh gets fewer, not a heap of
// them.
const maxBackground = 64

// Background sends the mix, up to MaxRate a second, until the context ends.
func (g *Generator) Background(ctx context.Context, rps int) {
	if rps == 0 {
		return
	}
	tick := time.NewTicker(time.Second / time.Duration(rps))
	defer tick.Stop()
	slots := make(chan struct{}, maxBackground)
	var flying sync.WaitGroup
	defer flying.Wait()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		select {
		case slots <- struct{}{}:
			flying.Go(func() { g.total.add(g.send(ctx, mix[n%len(mix)])); <-slots })
		default: // all slots are taken: this turn is left out
		}
	}
}

// Total counts everything since the start.
func (g *Generator) Total() Counts { return g.total.snapshot() }
