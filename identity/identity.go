package identity

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// Config is what `meshctl serve identity` can be told. Zero values are the defaults.
type Config struct {
	TrustDomain   string        // cluster.local
	ClusterDomain string        // cluster.local: ends the DNS names of control-plane servers
	Namespace     string        // tulle
	Pod           string        // this pod's name, the common name of its own SVID
	Lifetime      time.Duration // of SVIDs: 24h
	Listen        string        // :8080
	HealthListen  string        // :9990
	Client        kubernetes.Interface
	Log           *slog.Logger
}

const (
	// what Linkerd and SPIRE's users are used to: a day's outage of identity is survived by half
	defaultLife = 24 * time.Hour
	// minLife and maxLife bound --lifetime: below, renewals would be all that happens; above, a
	// stolen key is one for too long.
	minLife = 2 * time.Second
	maxLife = 30 * 24 * time.Hour
)

func (c Config) withDefaults() Config {
	c.TrustDomain = cmp.Or(c.TrustDomain, names.TrustDomain)
	c.ClusterDomain = cmp.Or(c.ClusterDomain, names.ClusterDomain)
	c.Namespace = cmp.Or(c.Namespace, names.Namespace)
	c.Pod = cmp.Or(c.Pod, component)
	c.Lifetime = cmp.Or(c.Lifetime, defaultLife)
	c.Listen = cmp.Or(c.Listen, ":8080")
	c.HealthListen = cmp.Or(c.HealthListen, fmt.Sprintf(":%d", serve.HealthPort))
	c.Log = cmp.Or(c.Log, slog.Default())
	return c
}

// Run is identity on Kubernetes, until the context ends.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if cfg.Client == nil {
		client, _, err := kube.Client()
		if err != nil {
			return err
		}
		cfg.Client = client
	}
	s, err := newServer(cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for proxies: %w", err)
	}
	health, err := net.Listen("tcp", cfg.HealthListen)
	if err != nil {
		l.Close()
		return fmt.Errorf("listen for probes: %w", err)
	}
	cfg.Log.Info("identity listens", "addr", l.Addr(), "health", health.Addr(), "trust domain",
		cfg.TrustDomain, "lifetime", cfg.Lifetime)
	return s.run(ctx, l, health)
}

// server is identity on Kubernetes: the service, and what keeps issuer, ConfigMaps and events.
type server struct {
	authority *authority
	service   *service
	events    *events
	store     *store
	trust     *trust
	self      *spiffe.Renewer
	health    *serve.Health
	calls     *prometheus.CounterVec
}

func newServer(cfg Config) (*server, error) {
	td, err := spiffeid.TrustDomainFromString(cfg.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("trust domain %q: %w", cfg.TrustDomain, err)
	}
	if cfg.Lifetime < minLife || cfg.Lifetime > maxLife {
		return nil, fmt.Errorf("lifetime %s: choose one from %s to %s", cfg.Lifetime, minLife,
			maxLife)
	}
	self, err := spiffe.ForWorkload(td, cfg.Namespace, component)
	if err != nil {
		return nil, fmt.Errorf("namespace: %w", err)
	}
	admission, err := newAdmission(connectionLimits.Admitted(), true)
	if err != nil {
		return nil, err
	}
	a := &authority{
		trustDomain: td, namespace: cfg.Namespace, clusterDomain: cfg.ClusterDomain,
		life:   cfg.Lifetime,
		source: spiffe.NewSource(),
	}
	s := &server{authority: a, events: newEvents(cfg.Client, cfg.Namespace, cfg.Log),
		health: serve.NewHealth()}
	s.store = &store{client: cfg.Client, namespace: cfg.Namespace, authority: a, events: s.events,
		log: cfg.Log}
	s.trust = &trust{client: cfg.Client, authority: a, log: cfg.Log}
	s.self = a.renewer(a.source, attested{ID: self, Pod: cfg.Pod}, cfg.Log)
	s.service = &service{
		authority: a, admission: admission, log: cfg.Log, done: s.answered,
		attestor: &tokenReview{client: cfg.Client, trustDomain: td},
		limits:   connectionLimits, metrics: s.health.Metrics,
	}
	s.measure()
	return s, nil
}

// run works on the two listeners, and closes them, until the context ends.
func (s *server) run(ctx context.Context, l, health net.Listener) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return s.health.Serve(ctx, health) })
	all.Go(func() error { return s.events.run(ctx) })
	all.Go(func() error { return s.store.run(ctx) })
	all.Go(func() error { return s.trust.run(ctx) })
	all.Go(func() error { return s.renew(ctx) })
	all.Go(func() error {
		return s.service.serve(ctx, l, spiffe.BootstrapServerConfig(
			s.authority.source, []string{"h2"}))
	})
	if err := all.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("serve identity: %w", err)
	}
	return nil
}

// renew keeps identity's own SVID, once there is something to sign it with.
func (s *server) renew(ctx context.Context) error {
	if err := s.authority.hasIssuer(ctx); err != nil {
		return nil
	}
	s.self.Run(ctx) // returns only when the context ends
	return nil
}

func (s *server) measure() {
	s.calls = measure(s.health.Metrics, s.authority, s.service.admission)
	s.health.Check("identity", s.authority.ready)
}

// measure registers what is told of an authority, and returns its counter of calls.
func measure(to prometheus.Registerer, a *authority, open *admission) *prometheus.CounterVec {
	calls := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tulle_identity_certify_total",
		Help: "Answered calls of Certify, by gRPC code; OK is a certificate issued.",
	}, []string{"code"})
	expiry := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tulle_identity_issuer_expiry_timestamp_seconds",
		Help: "When the issuer, or a root above it, ends; 0 without one.",
	}, a.expiry)
	streams := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tulle_identity_calls",
		Help: "Open calls: streams of trust bundles, but for moments.",
	}, open.openCalls)
	to.MustRegister(calls, expiry, streams)
	return calls
}

// answered counts a call, and tells of a refusal by an event on the pod that was refused.
func (s *server) answered(who attested, err error) {
	code := status.Code(err)
	s.calls.WithLabelValues(code.String()).Inc()
	switch code {
	case codes.Unauthenticated, codes.PermissionDenied, codes.InvalidArgument:
		s.events.warn(s.events.caller(who), "CertificateRefused", status.Convert(err).Message())
	case codes.Unavailable:
		s.events.warn(s.events.caller(attested{}), "CertificateUnavailable",
			status.Convert(err).Message())
	}
}
