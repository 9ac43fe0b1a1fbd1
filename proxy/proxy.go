package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	identityapi "github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/proxy/sample"
	vizapi "github.com/tulle-mesh/tulle/viz/api"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/admin"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/health"
	"github.com/tulle-mesh/tulle/proxy/live"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/record"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"github.com/tulle-mesh/tulle/proxy/tunnel"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// Proxy is one workload's sidecar. Use New.
type Proxy struct {
	cfg     config.Config
	limits  config.Limits // cfg's
	log     *slog.Logger
	sampled *slog.Logger // for what strangers make it say
	level   *slog.LevelVar
	version string

	ctx    context.Context // ends when the drain is over
	cancel context.CancelFunc
	tasks  sync.WaitGroup // every connection's goroutine, and run's
	drain  chan struct{}  // closed when draining begins
	once   sync.Once      // closes drain
	// No request will be counted any more; the last report was made, or could not be.
	settled, reported chan struct{}

	source     *spiffe.Source
	token      func() (string, error)
	meshServer *tls.Config
	dialer     *net.Dialer
	lookUp     func(ctx context.Context, host string) ([]string, error) // of viz's replicas

	identity    *rpc.Client
	destination *rpc.Client

	metrics   *metric.Registry
	wheel     *timer.Wheel
	memory    memory.Gauge
	held      wire.Allowance
	strangers metric.Addresses
	trimmer   *trimmer
	discovery *discover.Session
	health    *health.Set
	told      slog.Level // the log level, by destination or the environment; discovery's
	forward   *forward.Forwarder
	tunnels   *tunnel.Carrier
	seen      outcome.Watch // whoever looks at requests and connections
	access    *record.AccessLog
	tracing   tracing
	watchers  watchers
	gateways  func() []netip.Addr // once
	listeners []listener
	inbound   atomic.Int64 // the open connections that are accepted on the way in
	outbound  atomic.Int64 // and on the way out

	lives   live.Set[*meshLife]
	rootsAt atomic.Int64       // when the roots may last have changed, since started
	quiet   live.Set[net.Conn] // on which nothing was said yet, and the caller must speak first
	counts
}

// counts are the proxy's own events, resolved once.
type counts struct {
	refused       struct{ limit, loop, bypass, policy, handshake *metric.Counter }
	controlErrors struct{ identity, destination, viz *metric.Counter }
	early         skews
}

// Output is where a proxy says what it has to say.
type Output struct {
	Log    *slog.Logger
	Level  *slog.LevelVar // of Log
	Access io.Writer      // of the access log, while it is on
}

// New makes a proxy; nothing runs before Run.
func New(cfg config.Config, version string, out Output) (*Proxy, error) {
	token, err := newToken(cfg)
	if err != nil {
		return nil, err
	}
	p := &Proxy{
		cfg:      cfg,
		limits:   cfg.Limits,
		log:      out.Log,
		sampled:  sample.Logger(out.Log),
		level:    out.Level,
		version:  version,
		drain:    make(chan struct{}),
		token:    token,
		settled:  make(chan struct{}),
		reported: make(chan struct{}),
		source:   spiffe.NewSource(),
		dialer:   newDialer(&cfg.Limits),
		lookUp:   net.DefaultResolver.LookupHost,
		metrics:  metric.NewRegistry(),
		wheel:    timer.New(),
		held:     wire.Allowance{Limit: cfg.Limits.MaxHeld},
		trimmer:  newTrimmer(),
		gateways: sync.OnceValue(gateways),
		told:     cfg.LogLevel,
	}
	p.access = record.NewAccessLog(out.Access, out.Log,
		p.metrics.Counter(metric.ShedWork, "access_log"))
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.resolveCounters()
	p.meshServer = counting(spiffe.ServerConfig(p.source,
		[]string{config.ALPNHTTP, config.ALPNTCP}, spiffe.AnyPeer), p.early.caller)
	p.newClients()
	p.newStages()
	return p, nil
}

// newStages makes what a connection goes through once it was accepted.
func (p *Proxy) newStages() {
	p.health = health.NewSet(health.Options{
		Dial: p.dialPlain, Address: p.checkedAddress, Log: p.log,
		Say: func(m *api.Health) { p.discovery.Health(m) },
	})
	p.discovery = discover.New(discover.Options{
		Cfg:        p.cfg,
		Client:     p.destination,
		Version:    p.version,
		Log:        p.log,
		Failures:   p.controlErrors.destination,
		Identified: p.identified,
		Attach:     forward.Attach,
		Configure:  p.configure,
		Checked:    p.health.Apply,
		Limited:    p.metrics.Limited,
		Applied:    forward.Apply,
		Metrics:    p.metrics,
	})
	p.forward = forward.New(forward.Options{
		Ctx:            p.ctx,
		Tasks:          &p.tasks,
		Limits:         p.limits,
		Identity:       p.cfg.Identity,
		Log:            p.log,
		Sampled:        p.sampled,
		Metrics:        p.metrics,
		Wheel:          p.wheel,
		Memory:         p.memory.Level,
		Held:           &p.held,
		Cores:          runtime.GOMAXPROCS(0),
		TrustedProxies: p.cfg.TrustedProxies,
		DialMesh:       p.dialMesh,
		DialPlain:      p.dialPlain,
		Watch:          p.watchMesh,
		Strangers:      &p.strangers,
		Seen:           &p.seen,
	})
	p.tunnels = tunnel.New(tunnel.Options{
		Ctx:        p.ctx,
		Limits:     p.limits,
		Identity:   p.cfg.Identity,
		Log:        p.log,
		Sampled:    p.sampled,
		Metrics:    p.metrics,
		Memory:     &p.memory,
		Held:       &p.held,
		Dialer:     p.dialer,
		MeshConfig: p.meshClientConfig,
		Watch:      p.watchMesh,
		Strangers:  &p.strangers,
		Seen:       &p.seen,
	})
}

// identified returns once the proxy has an SVID.
func (p *Proxy) identified(ctx context.Context) error {
	_, err := p.source.Wait(ctx)
	return err
}

// newClients makes one for each server that the proxy calls. None of them dials yet.
func (p *Proxy) newClients() {
	c := &p.cfg
	p.identity = p.newClient(c.IdentityAPI.Addr, p.dialIdentity,
		rpc.Bounds{Request: identityapi.MaxRequest, Response: identityapi.MaxResponse})
	p.destination = p.newClient(c.Destination.Addr, p.dialServer(c.Destination),
		rpc.Bounds{Request: api.MaxRequest, Response: api.MaxResponse})
}

// dial connects to a server of the control plane.
type dial func(context.Context) (*wire.Conn, error)

func (p *Proxy) newClient(addr string, d dial, b rpc.Bounds) *rpc.Client {
	return rpc.NewClient(rpc.Options{
		Dial: d, Authority: addr, Bounds: b, UserAgent: p.userAgent(),
	})
}

func (p *Proxy) userAgent() string { return "tulle/" + p.version }

func (p *Proxy) resolveCounters() {
	refused := func(why string) *metric.Counter {
		return p.metrics.Counter(metric.ConnectionRefused, why)
	}
	p.refused.limit, p.refused.loop = refused("limit"), refused("loop")
	p.refused.bypass, p.refused.policy = refused("bypass"), refused("policy")
	p.refused.handshake = refused("handshake")
	control := func(why string) *metric.Counter {
		return p.metrics.Counter(metric.ControlPlaneError, why)
	}
	p.controlErrors.identity = control("identity")
	p.controlErrors.destination = control("destination")
	p.controlErrors.viz = control("viz")
	p.early = newSkews(p.metrics)
}

// Run serves until ctx ends or Drain is called, drains, and returns.
//
// A request's way through it: accept, detect, identify, authorize, discover, route, balance,
// forward, record.
func (p *Proxy) Run(ctx context.Context) error {
	id, err := spiffeid.FromString(p.cfg.Identity)
	if err != nil {
		return fmt.Errorf("%s: %w", config.EnvIdentity, err)
	}
	if err := p.listen(); err != nil {
		return err
	}
	adminListener, err := net.Listen("tcp", p.cfg.AdminListen)
	if err != nil {
		return fmt.Errorf("listen for admin on %s: %w", p.cfg.AdminListen, err)
	}
	adm := admin.New(
		admin.Options{Registry: p.metrics, Unready: p.unready, Shutdown: p.Drain, Level: p.level,
			Version: p.version, Log: p.log, Pages: p.pages()},
	)
	p.tasks.Go(func() { p.serveAdmin(adm, adminListener) })
	renewer := &spiffe.Renewer{Source: p.source, Expected: id, Certify: p.certify, Log: p.log}
	p.tasks.Go(func() { renewer.Run(p.ctx) }) // it ends with ctx and only then
	p.tasks.Go(func() { p.followBundles(p.ctx) })
	p.tasks.Go(func() { p.watchRoots(p.ctx) })
	p.tasks.Go(func() { p.discovery.Run(p.ctx) })
	p.tasks.Go(func() { p.report(p.ctx) })
	p.tasks.Go(p.trimStart)
	p.tasks.Go(p.trimMemory)
	for _, l := range p.listeners {
		p.tasks.Go(func() { p.accept(l) })
	}
	p.log.Info("serving", "version", p.version, "identity", p.cfg.Identity, "pod", p.cfg.Pod)
	select {
	case <-ctx.Done():
	case <-p.drain:
	}
	p.finish(adm)
	return nil
}

// report keeps every replica of viz told, if there is any.
func (p *Proxy) report(ctx context.Context) {
	defer close(p.reported)
	if p.cfg.Viz.Addr == "" {
		return
	}
	reporter := record.New(
		record.Options{
			Version:  p.version,
			Metrics:  p.metrics,
			Source:   p.source,
			Patience: record.Patience,
			Workload: p.discovery.Self,
			Holding:  p.holding,
			Settled:  p.settled,
		},
	)
	replicas := &record.Replicas{Addr: p.cfg.Viz.Addr, LookUp: p.lookUp, Log: p.log,
		Failures: p.controlErrors.viz, Settled: p.settled}
	replicas.Run(ctx, func(
		ctx context.Context, addr string, changed func(),
	) (heard bool, err error) {
		client := p.newViz(addr)
		defer client.Close()
		defer p.showTo(ctx, client, reporter)()
		return reporter.Report(ctx, client, changed)
	})
}

// newViz makes a client of one of viz's replicas.
func (p *Proxy) newViz(addr string) *rpc.Client {
	return p.newClient(p.cfg.Viz.Addr, p.dialServer(config.Service{Addr: addr, ID: p.cfg.Viz.ID}),
		rpc.Bounds{Request: vizapi.MaxRequest, Response: vizapi.MaxResponse})
}

func (p *Proxy) holding() (revision string, age time.Duration, connected bool) {
	h := p.discovery.Holding()
	return h.Revision, h.Age, h.Connected
}

// lastReport is how long the end of the process may wait for viz and for a collector of traces.
const lastReport = time.Second

// settleReports says that no request will be counted any more, and waits for the last report and
// the last spans.
func (p *Proxy) settleReports() {
	close(p.settled)
	late := time.After(lastReport)
	for _, done := range []<-chan struct{}{p.reported, p.settleTraces()} {
		select {
		case <-done:
		case <-late:
			return
		}
	}
}

func (p *Proxy) serveAdmin(s *admin.Server, l net.Listener) {
	if err := s.Serve(l); err != nil {
		p.log.Error("the admin server ended", "err", err)
	}
}

// startedAfter is when the start is surely over.
const startedAfter = time.Second

// trimStart makes the proxy small once it has started.
func (p *Proxy) trimStart() {
	select {
	case <-p.discovery.Met:
	case <-p.ctx.Done():
		return
	}
	p.sleep(startedAfter)
	if err := trim(); err != nil {
		p.log.Debug("cannot give back the pages of the start", "err", err)
	}
}

// Drain makes Run return once what is under way has ended, or the grace is over.
func (p *Proxy) Drain() { p.once.Do(func() { close(p.drain) }) }

// drainPoll is how often the drain looks whether anything is left; it runs once in a process's
// life.
const drainPoll = 20 * time.Millisecond

// finish drains: no new connections, no new requests, and an end for what is left after the grace.
func (p *Proxy) finish(adm *admin.Server) {
	p.log.Info("draining", "grace", p.cfg.DrainGrace)
	p.Drain()
	p.health.Stop() // the application is ending, too, and that is no news
	for _, l := range p.listeners {
		l.Close()
	}
	p.quiet.Each(func(nc net.Conn) { nc.Close() })
	grace := time.After(p.cfg.DrainGrace)
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for p.metrics.Connections.Load() > 0 { // those that nobody knows the protocol of yet among them
		p.forward.Drain()
		select {
		case <-tick.C:
			continue
		case <-grace:
			p.log.Warn("the grace is over, ending what is left")
		}
		break
	}
	p.settleReports()
	p.cancel()
	p.forward.Cut()
	p.tunnels.Cut()
	stop, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	if err := adm.Close(stop); err != nil {
		p.log.Debug("the admin server did not end in time", "err", err)
	}
	for _, c := range []*rpc.Client{p.identity, p.destination} {
		c.Close()
	}
	p.tasks.Wait()
	p.access.Close()
	p.tunnels.Close()
	p.wheel.Close()
}

// unready says why the proxy should get no traffic yet.
func (p *Proxy) unready() (why []string) {
	for _, err := range []error{p.source.Ready(), p.discovery.Status()} {
		if err != nil {
			why = append(why, err.Error())
		}
	}
	if p.discovery.Status() != nil {
		why = append(why,
			"until destination has answered, nobody is admitted but probes and loopback")
	}
	select {
	case <-p.drain:
		why = append(why, "draining")
	default:
	}
	return why
}

func (p *Proxy) draining() bool {
	select {
	case <-p.drain:
		return true
	default:
		return false
	}
}
