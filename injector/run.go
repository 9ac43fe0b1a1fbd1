package injector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const (
	reviewTimeout = 10 * time.Second // the webhook's own: a later answer is not read
	idleTimeout   = 5 * time.Minute  // API servers keep their connections
	// leaveAfter is how long a stopping replica still answers: the other API servers learn from
	// endpoints that it goes.
	leaveAfter = 3 * time.Second
	stopGrace  = 10 * time.Second
)

// Server is what Run needs.
type Server struct {
	Config Config
	// the certificate with the Service's DNS name, and the roots that go into the caBundle
	Source *spiffe.Source
	Client kubernetes.Interface
	Listen net.Listener // TLS
	Health net.Listener // plain: probes
	Log    *slog.Logger

	linger time.Duration // leaveAfter
}

// Run answers the API server until the context ends.
func Run(ctx context.Context, s Server) error {
	td, err := spiffeid.TrustDomainFromString(s.Config.TrustDomain)
	if err != nil {
		return fmt.Errorf("trust domain %q: %w", s.Config.TrustDomain, err)
	}
	health, bundle := serve.NewHealth(), newBundleKeeper(s, td)
	health.Check("certificate", s.Source.Ready)
	health.Check("webhook configuration", bundle.ready)
	hook := &webhook{config: s.Config, client: s.Client, log: s.Log,
		memory: newBudget(reviewMemory), counts: newCounts()}
	health.Metrics.MustRegister(hook.counts)
	s.Log.Info("injector listens", "addr", s.Listen.Addr(), "health", s.Health.Addr(), "image",
		s.Config.ProxyImage)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return health.Serve(ctx, s.Health) })
	all.Go(func() error { return bundle.run(ctx) })
	listen := serve.Bound("webhook", s.Listen, connectionLimits, health.Metrics)
	all.Go(func() error { return s.serve(ctx, listen, hook) })
	return all.Wait()
}

// connectionLimits are what callers may hold: an API server needs one connection, or one for each
// review where it speaks HTTP/1.
var connectionLimits = serve.Limits{
	Connections: 128, PerAddress: 64, Base: 64<<20 + reviewMemory, Each: 64 << 10,
}

// serve ends after the last answer has been given.
func (s Server) serve(ctx context.Context, l net.Listener, hook http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle(WebhookPath, hook)
	server := serve.NewHTTP(mux)
	server.TLSConfig = spiffe.BootstrapServerConfig(s.Source, []string{"h2", "http/1.1"})
	server.WriteTimeout, server.IdleTimeout = reviewTimeout, idleTimeout
	server.ErrorLog = slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug) // port scans, mostly
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		leave(server, cmp.Or(s.linger, leaveAfter))
	}()
	err := server.ServeTLS(l, "", "")
	if ctx.Err() == nil {
		return fmt.Errorf("serve the webhook: %w", err)
	}
	<-stopped
	return nil
}

func leave(server *http.Server, linger time.Duration) {
	time.Sleep(linger)
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		server.Close()
	}
}
