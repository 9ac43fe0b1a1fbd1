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
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const (
	reviewTimeout = 10 * time.Second // the webhook's own: a later answer is not read
	idleTimeout   = 5 * time.Minute  // API servers keep their connections
	// leaveAfter is how long a stopping replica still answers: the other API servers learn from endpoints that it goes.
	leaveAfter = 3 * time.Second
	stopGrace  = 10 * time.Second
)

// Server is what Run needs.
type Server struct {
	Config Config
	Source *spiffe.Source // the certificate with the Service's DNS name, and the roots that go into the caBundle
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
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: s.Client.CoreV1().Events("")})
	hook := &webhook{
		config: s.Config, client: s.Client, log: s.Log,
		events: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "tulle-injector"}),
	}
	s.Log.Info("injector listens", "addr", s.Listen.Addr(), "health", s.Health.Addr(), "image", s.Config.ProxyImage)
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return health.Serve(ctx, s.Health) })
	all.Go(func() error { return bundle.run(ctx) })
	all.Go(func() error { return s.serve(ctx, hook) })
	return all.Wait()
}

// serve ends after the last answer has been given.
func (s Server) serve(ctx context.Context, hook http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle(WebhookPath, hook)
	server := &http.Server{
		Handler: mux, TLSConfig: spiffe.BootstrapServerConfig(s.Source, []string{"h2", "http/1.1"}),
		ReadHeaderTimeout: reviewTimeout, ReadTimeout: reviewTimeout, WriteTimeout: reviewTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug), // port scans, mostly
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		leave(server, cmp.Or(s.linger, leaveAfter))
	}()
	err := server.ServeTLS(s.Listen, "", "")
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
