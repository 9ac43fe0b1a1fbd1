package record

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/backoff"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

const (
	// MaxReplicas is with how many replicas of viz a proxy keeps a stream, each of which costs it
	// memory.
	MaxReplicas = 3

	retryAfter    = time.Second
	retryAfterMax = 15 * time.Second
	// lookUpAfter is when viz's name is looked up again, after the replicas have changed; then
	// after twice as long, for one that is missing is usually back soon. Thousands of proxies ask.
	lookUpAfter    = time.Second
	lookUpAfterMax = 5 * time.Minute
	lookUpTimeout  = 5 * time.Second
)

// Replicas keeps something running with each replica of viz: at each address of its name, up to
// MaxReplicas. A replica that hangs, or is gone, delays nobody else.
type Replicas struct {
	Addr string // host:port
	// LookUp finds the addresses of a host; it is net.Resolver's LookupHost.
	LookUp   func(ctx context.Context, host string) ([]string, error)
	Log      *slog.Logger
	Failures *metric.Counter
	Settled  <-chan struct{} // closed when nothing is to be begun any more
}

// Serve is what runs with a replica, at host:port. It calls changed when it hears that the replicas
// are others than before, and says whether the replica answered at all.
type Serve func(ctx context.Context, addr string, changed func()) (heard bool, err error)

// Run has serve run with each replica, and again after it has ended. It returns once Settled is
// closed, or the context has ended, and each serve has returned by itself.
func (r *Replicas) Run(ctx context.Context, serve Serve) {
	a := &attendance{Replicas: r, serve: serve, known: map[string]*replica{},
		ended: make(chan ending, MaxReplicas), news: make(chan struct{}, 1),
		pause: backoff.Backoff{Min: lookUpAfter, Max: lookUpAfterMax}}
	defer a.running.Wait()
	for {
		a.lookUp(ctx)
		a.begin(ctx)
		next := time.NewTimer(time.Until(a.next()))
		select {
		case e := <-a.ended:
			a.end(e)
		case <-a.news:
			a.pause.Reset()
			a.look = time.Now().Add(a.pause.Next())
		case <-next.C:
		case <-ctx.Done():
			return
		case <-r.Settled:
			return
		}
		next.Stop()
	}
}

// attendance is what Run knows. One goroutine has it.
type attendance struct {
	*Replicas
	serve   Serve
	known   map[string]*replica // by address
	ended   chan ending
	news    chan struct{} // that there are other replicas
	running sync.WaitGroup
	look    time.Time // when the name is looked up next
	pause   backoff.Backoff
}

// replica is one of viz's, or what was one when the name was last looked up.
type replica struct {
	running bool
	due     time.Time // when it is tried again
	retry   backoff.Backoff
}

// ending is how a serve ended.
type ending struct {
	addr  string
	heard bool
	err   error
}

// lookUp takes up new replicas, and forgets those that are neither named nor running any more. When
// the name cannot be looked up, all stays as it is.
func (a *attendance) lookUp(ctx context.Context) {
	now := time.Now()
	if now.Before(a.look) {
		return
	}
	named, err := a.addresses(ctx)
	if err != nil {
		a.failed(err)
	} else if a.take(named, now) {
		a.pause.Reset()
	}
	a.look = now.Add(a.pause.Next())
}

// take reports whether anything has changed.
func (a *attendance) take(named []string, now time.Time) (changed bool) {
	for addr, one := range a.known {
		if !one.running && !slices.Contains(named, addr) {
			delete(a.known, addr)
			changed = true
		}
	}
	for _, addr := range named {
		if a.known[addr] == nil && len(a.known) < MaxReplicas {
			a.known[addr] = &replica{due: now,
				retry: backoff.Backoff{Min: retryAfter, Max: retryAfterMax}}
			changed = true
		}
	}
	return changed
}

// addresses are where the replicas are, in an order that all proxies have.
func (a *attendance) addresses(ctx context.Context) ([]string, error) {
	host, port, err := net.SplitHostPort(a.Addr)
	if err != nil {
		return nil, fmt.Errorf("viz's address: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, lookUpTimeout)
	defer cancel()
	found, err := a.LookUp(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("look viz up: %w", err)
	}
	var out []string
	for _, ip := range oneFamily(found) {
		out = append(out, net.JoinHostPort(ip, port))
	}
	slices.Sort(out)
	return out, nil
}

// oneFamily leaves out IPv6 addresses where there are others: a pod with one of each would be two.
func oneFamily(ips []string) []string {
	is4 := func(ip string) bool {
		a, err := netip.ParseAddr(ip)
		return err == nil && a.Unmap().Is4()
	}
	if !slices.ContainsFunc(ips, is4) {
		return ips
	}
	return slices.DeleteFunc(slices.Clone(ips), func(ip string) bool { return !is4(ip) })
}

// begin runs serve with all that are due.
func (a *attendance) begin(ctx context.Context) {
	now := time.Now()
	for addr, one := range a.known {
		if one.running || now.Before(one.due) {
			continue
		}
		one.running = true
		a.running.Go(func() {
			heard, err := a.serve(ctx, addr, a.changed)
			a.ended <- ending{addr, heard, err} // there is room for all of them
		})
	}
}

// changed may be called by anybody.
func (a *attendance) changed() {
	select {
	case a.news <- struct{}{}:
	default: // it is known
	}
}

// end notes when a replica is tried again. Before that its name is looked up, for it may have gone.
func (a *attendance) end(e ending) {
	a.failed(e.err)
	one := a.known[e.addr]
	if e.heard {
		one.retry.Reset()
	}
	one.running, one.due = false, time.Now().Add(one.retry.Next())
	if a.pause.Reset(); one.due.Before(a.look) {
		a.look = one.due
	}
}

func (a *attendance) failed(err error) {
	a.Failures.Inc()
	a.Log.Debug("reporting to viz ended", "err", err)
}

// next is when there is something to do.
func (a *attendance) next() time.Time {
	at := a.look
	for _, one := range a.known {
		if !one.running && one.due.Before(at) {
			at = one.due
		}
	}
	return at
}
