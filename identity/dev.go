package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// Dev is identity without Kubernetes: a CA that lives in memory and takes join tokens, on loopback
// only.
type Dev struct {
	authority *authority
	tokens    *joinTokens
	log       *slog.Logger
	metrics   prometheus.Registerer
	renewers  sync.WaitGroup
}

// DevConfig is what dev mode can be told. Zero values are the defaults, but for the trust domain.
type DevConfig struct {
	TrustDomain spiffeid.TrustDomain
	Lifetime    time.Duration // of SVIDs: 24h
	Log         *slog.Logger
	Metrics     prometheus.Registerer // nil: nobody counts
}

// NewDev makes a Dev. It refuses to inside a Kubernetes cluster: there the holder of a join token
// would get the identity that the token names, although Kubernetes could be asked who it is.
func NewDev(cfg DevConfig) (*Dev, error) {
	if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		return nil, errors.New(
			"dev mode does not run inside a Kubernetes cluster: use `meshctl install`")
	}
	m, err := makeIssuer(cfg.TrustDomain)
	if err != nil {
		return nil, err
	}
	i, err := parseIssuer(cfg.TrustDomain, m)
	if err != nil {
		return nil, err
	}
	d := &Dev{tokens: &joinTokens{}, log: cmp.Or(cfg.Log, slog.Default()),
		metrics: cfg.Metrics}
	d.authority = &authority{
		trustDomain: cfg.TrustDomain, namespace: names.Namespace,
		clusterDomain: names.ClusterDomain,
		life:          cmp.Or(cfg.Lifetime, defaultLife), source: spiffe.NewSource(),
	}
	d.authority.use(i)
	return d, nil
}

// Token makes a token that is good for this one ID, and for its renewals, until the process ends.
func (d *Dev) Token(id spiffeid.ID, pod string) string { return d.tokens.make(id, pod) }

// ServerID is what clients of Serve must pin.
func (d *Dev) ServerID() spiffeid.ID {
	return spiffeid.RequireFromSegments(d.authority.trustDomain, "ns", d.authority.namespace, "sa",
		component)
}

// Roots is PEM, for a proxy's trust file.
func (d *Dev) Roots() []byte { return []byte(d.authority.trusted()) }

// Source gives a server in this process an SVID, and renews it until the context ends. Wait waits
// for the end of the renewals.
func (d *Dev) Source(ctx context.Context, id spiffeid.ID) (*spiffe.Source, error) {
	if !id.MemberOf(d.authority.trustDomain) {
		return nil, fmt.Errorf("%s is not of the trust domain %s", id, d.authority.trustDomain)
	}
	src := spiffe.NewSource()
	r := d.renewer(src, id)
	d.renewers.Go(func() { r.Run(ctx) }) // returns only when the context ends
	_, err := src.Wait(ctx)
	return src, err
}

func (d *Dev) renewer(src *spiffe.Source, id spiffeid.ID) *spiffe.Renewer {
	return d.authority.renewer(src, attested{ID: id, Pod: "dev"}, d.log)
}

// Wait returns when the contexts of all Sources have ended, and their goroutines with them.
func (d *Dev) Wait() { d.renewers.Wait() }

// Serve answers proxies until the context ends. It closes the listener, and refuses one that others
// could reach.
func (d *Dev) Serve(ctx context.Context, l net.Listener) error {
	if addr, ok := l.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		l.Close()
		return fmt.Errorf("dev mode listens on loopback only, not on %s", l.Addr())
	}
	admission, err := newAdmission(connectionLimits.Admitted(), false)
	if err != nil {
		l.Close()
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var self sync.WaitGroup
	defer self.Wait()
	defer cancel()
	self.Go(func() { d.renewer(d.authority.source, d.ServerID()).Run(ctx) })
	if _, err := d.authority.source.Wait(ctx); err != nil {
		l.Close()
		return nil // ended before it began
	}
	s := &service{
		authority: d.authority, attestor: d.tokens, admission: admission, log: d.log,
		done: func(attested, error) {}, limits: connectionLimits, metrics: d.metrics,
	}
	if d.metrics != nil {
		calls := measure(d.metrics, d.authority, admission)
		s.done = func(_ attested, err error) {
			calls.WithLabelValues(status.Code(err).String()).Inc()
		}
	}
	return s.serve(ctx, l, spiffe.BootstrapServerConfig(d.authority.source, []string{"h2"}))
}
