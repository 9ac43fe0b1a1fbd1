package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/cli/objectives"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/agent"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// serverFlags are what every server of the control plane is told; `meshctl install` writes them
// into its Deployment.
type serverFlags struct {
	app           *app
	component     string // tulle-identity, ...: its ServiceAccount, and so its ID
	trustDomain   string
	clusterDomain string
	listen        string
	healthListen  string
	logLevel      string
	identityAddr  string
	tokenFile     string
	trustFile     string
}

func newServeCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a server of the control plane",
		Long: "Run one server of the control plane, as the Deployments of 'meshctl install' " +
			"do. It ends in order on SIGTERM.",
		Example: "  meshctl serve identity\n  meshctl serve destination",
	}
	cmd.AddCommand(newServeIdentityCommand(a), newServeDestinationCommand(a),
		newServeInjectorCommand(a), newServeVizCommand(a))
	return cmd
}

// newServerCommand is what the four have in common.
func newServerCommand(a *app, server, does string, port int) (*cobra.Command, *serverFlags) {
	f := &serverFlags{app: a, component: server}
	name := strings.TrimPrefix(server, names.Mesh+"-")
	cmd := &cobra.Command{
		Use:     name,
		Short:   "Run the " + name + " server",
		Long:    does,
		Example: "  meshctl serve " + name,
		Args:    cobra.NoArgs,
		PreRun:  func(*cobra.Command, []string) { serve.LimitGarbage() },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.trustDomain, "trust-domain", names.TrustDomain,
		"SPIFFE trust domain of every identity")
	flags.StringVar(&f.clusterDomain, "cluster-domain", names.ClusterDomain,
		"what the DNS names of the cluster's Services end in")
	flags.StringVar(&f.listen, "listen", ":"+strconv.Itoa(port), "address to serve on")
	flags.StringVar(&f.healthListen, "health-listen", ":"+strconv.Itoa(serve.HealthPort),
		"address for probes and metrics, in plain HTTP")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	return cmd, f
}

// addCertificate gives a server that needs identity's certificate the flags for it.
func (f *serverFlags) addCertificate(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.identityAddr, "identity-addr", "",
		"host:port of the identity server (default: its Service)")
	flags.StringVar(&f.tokenFile, "token-file", injector.TokenFile,
		"the projected service account token")
	flags.StringVar(&f.trustFile, "trust-file", injector.TrustFile,
		"the trust roots to know identity by")
}

func newServeIdentityCommand(a *app) *cobra.Command {
	var lifetime time.Duration
	cmd, f := newServerCommand(a, names.Identity,
		"Run the certificate authority: it turns a pod's service account token into an SVID.",
		config.IdentityPort)
	cmd.Flags().DurationVar(&lifetime, "identity-lifetime", defaultLifetime,
		"how long a certificate lasts")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		log, err := f.logger()
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		return identity.Run(cmd.Context(), identity.Config{
			TrustDomain: f.trustDomain, ClusterDomain: f.clusterDomain, Namespace: a.meshSpace,
			Pod: os.Getenv("POD_NAME"), Lifetime: lifetime,
			Listen: f.listen, HealthListen: f.healthListen, Log: log,
		})
	}
	return cmd
}

func newServeInjectorCommand(a *app) *cobra.Command {
	var proxies proxyFlags
	var image string
	cmd, f := newServerCommand(a, names.Injector,
		"Run the webhook that adds the proxy to pods of namespaces that opted in.",
		config.InjectorPort)
	f.addCertificate(cmd)
	flags := cmd.Flags()
	proxies.addOutbound(flags)
	flags.StringVar(&image, "proxy-image", names.ImageRegistry+"/mesh-proxy:"+a.version,
		"image of the proxy")
	flags.StringVar(&proxies.pullPolicy, "image-pull-policy", "IfNotPresent",
		"when to pull it: Always, IfNotPresent, Never")
	flags.StringVar(&proxies.logLevel, "proxy-log-level", "info",
		"what proxies log: debug, info, warn, error")
	proxies.addResources(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		proxies.trustDomain, proxies.clusterDomain = f.trustDomain, f.clusterDomain
		cfg, err := a.injectConfig(proxies)
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		cfg.ProxyImage = image
		return f.serve(cmd, func(ctx context.Context, s server) error {
			return f.serveInjector(ctx, s, cfg)
		})
	}
	return cmd
}

func (f *serverFlags) serveInjector(ctx context.Context, s server, c injector.Config) error {
	client, _, err := kube.Client()
	if err != nil {
		return err
	}
	return injector.Run(ctx, injector.Server{
		Config: c, Source: s.source, Client: client, Listen: s.listen, Health: s.health, Log: s.log,
	})
}

func newServeVizCommand(a *app) *cobra.Command {
	cmd, f := newServerCommand(
		a, names.Viz,
		"Run the server that proxies report to, and that answers 'meshctl viz' on the pod's "+
			"loopback.", config.VizPort)
	f.addCertificate(cmd)
	var queries, metrics, push, kept string
	var compat []string
	cmd.Flags().StringVar(&queries, "query-listen",
		net.JoinHostPort("127.0.0.1", strconv.Itoa(config.VizQueryPort)),
		"loopback address to answer questions on")
	cmd.Flags().StringVar(&metrics, "metrics-listen", "",
		"address for Prometheus, with the mesh's figures for whoever reaches it; none if empty")
	cmd.Flags().StringVar(&kept, "objectives-file", "",
		"file in which what is counted for ServiceLevelObjectives is kept; not kept if empty")
	addCompat(cmd.Flags(), &compat)
	addPush(cmd.Flags(), &push)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(checkCompat(compat), checkPush(push)); err != nil {
			return usagef(cmd, "%w", err)
		}
		return f.serve(cmd, func(ctx context.Context, s server) error {
			s.replicas = fmt.Sprintf("%s.%s.svc.%s.", names.VizReplicas, a.meshSpace,
				f.clusterDomain)
			cfg := viz.Config{Version: a.version, MetricsCompat: compat, ObjectivesFile: kept}
			return s.serveViz(ctx, cfg, vizPlaces{queries, metrics, push})
		})
	}
	return cmd
}

// vizPlaces are where viz answers, and where it sends to; empty: nowhere.
type vizPlaces struct{ queries, metrics, push string }

// pushEvery is how often the mesh's figures are sent.
const pushEvery = 15 * time.Second

func (s server) serveViz(ctx context.Context, cfg viz.Config, at vizPlaces) error {
	l, err := net.Listen("tcp", at.queries)
	if err != nil {
		return fmt.Errorf("listen for questions: %w", err)
	}
	health := s.probes()
	cfg.Source, cfg.TrustDomain, cfg.Log, cfg.Metrics = s.source, s.trustDomain, s.log,
		health.Metrics
	keeper := s.tapKeeper()
	cfg.TapSessions = true
	if keeper != nil {
		cfg.Tapped = keeper.Tapped
	}
	v := viz.New(cfg)
	health.Metrics.MustRegister(v)
	all, ctx := errgroup.WithContext(ctx)
	if at.push != "" {
		all.Go(func() error {
			return v.PushMetrics(ctx, viz.Push{URL: at.push, Every: pushEvery,
				Instance: os.Getenv("POD_NAME")})
		})
	}
	if at.metrics != "" {
		page, err := net.Listen("tcp", at.metrics)
		if err != nil {
			return errors.Join(fmt.Errorf("listen for Prometheus: %w", err), l.Close())
		}
		all.Go(func() error { return v.ServeMetrics(ctx, page) })
	}
	all.Go(func() error {
		v.FollowReplicas(ctx, s.replicas, net.DefaultResolver.LookupHost)
		return nil
	})
	all.Go(func() error { return v.Serve(ctx, s.listen, l) })
	all.Go(func() error { return health.Serve(ctx, s.health) })
	all.Go(func() error { return s.keepTaps(ctx, keeper, v) })
	all.Go(func() error {
		if err := s.followObjectives(ctx, v); err != nil { // proxies report all the same
			s.log.Error("nothing is counted for ServiceLevelObjectives", "err", err)
		}
		return nil
	})
	return all.Wait()
}

// followObjectives tells viz which objectives the cluster has, until the context ends.
func (s server) followObjectives(ctx context.Context, v *viz.Server) error {
	client, cfg, err := kube.Client()
	if err != nil {
		return err
	}
	dynamic, err := kube.Dynamic(cfg)
	if err != nil {
		return err
	}
	source := &kube.Source{Client: client, Dynamic: dynamic, Log: s.log,
		Only: crd.ServiceLevelObjectiveKind}
	return objectives.Follow(ctx, source, v.SetObjectives)
}

// server is what a server runs on: its listeners, its certificate, its log.
type server struct {
	trustDomain    spiffeid.TrustDomain
	listen, health net.Listener
	source         *spiffe.Source
	log            *slog.Logger
	replicas       string // viz's name for all of them
}

// probes is ready while the certificate is good.
func (s server) probes() *serve.Health {
	h := serve.NewHealth()
	h.Check("certificate", s.source.Ready)
	return h
}

// serve prepares a server and runs it. What the server does on its own it ends with the context.
func (f *serverFlags) serve(cmd *cobra.Command, run func(context.Context, server) error) error {
	td, err := spiffeid.TrustDomainFromString(f.trustDomain)
	if err != nil {
		return usagef(cmd, "--trust-domain %q: %w", f.trustDomain, err)
	}
	s := server{trustDomain: td}
	if s.log, err = f.logger(); err != nil {
		return usagef(cmd, "%w", err)
	}
	if s.source, err = f.certificate(cmd.Context(), td, s.log); err != nil {
		return err
	}
	if s.listen, err = net.Listen("tcp", f.listen); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if s.health, err = net.Listen("tcp", f.healthListen); err != nil {
		return errors.Join(fmt.Errorf("listen for probes: %w", err), s.listen.Close())
	}
	return run(cmd.Context(), s)
}

// certificate is kept fresh until the context ends.
func (f *serverFlags) certificate(
	ctx context.Context, td spiffeid.TrustDomain, log *slog.Logger,
) (*spiffe.Source, error) {
	ns := f.app.meshSpace
	own, err := spiffe.ForWorkload(td, ns, f.component)
	if err != nil {
		return nil, fmt.Errorf("own identity: %w", err)
	}
	ca, err := spiffe.ForWorkload(td, ns, names.Identity)
	if err != nil {
		return nil, fmt.Errorf("identity's identity: %w", err)
	}
	addr := f.identityAddr
	if addr == "" {
		addr = injector.Config{Namespace: ns, ClusterDomain: f.clusterDomain}.
			Address(names.Identity, config.IdentityPort)
	}
	return agent.Start(ctx, agent.Config{
		ID: own, IdentityAddr: addr, IdentityID: ca, TokenFile: f.tokenFile, TrustFile: f.trustFile,
		Log: log,
	})
}

// logger also says at once what the flags seem to have wrong about the cluster.
func (f *serverFlags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, fmt.Errorf("--log-level %q: use debug, info, warn or error", f.logLevel)
	}
	log := slog.New(slog.NewTextHandler(f.app.ErrOut, &slog.HandlerOptions{Level: level}))
	f.checkDomain(log)
	return log, nil
}
