package viz

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/api/vizgrpc"
	"github.com/tulle-mesh/tulle/viz/slo"
)

// Bounds of the reporting side.
const (
	// maxStreams is how many proxies may report at once, where memory suffices: the 10,000 that one
	// process can hear each ten seconds, and some that are on the move.
	maxStreams = 16_384
	// stopGrace is how long streams may finish their report when viz stops.
	stopGrace = 2 * time.Second
)

// Config is what a Server needs.
type Config struct {
	Source      *spiffe.Source       // viz's own SVID, and the roots that vouch for proxies
	TrustDomain spiffeid.TrustDomain // whose proxies may report
	Log         *slog.Logger
	Metrics     prometheus.Registerer // may be nil
	Version     string                // what this server was built from
	// MetricsCompat are those whose names the page for Prometheus has beside ours: of CompatViews.
	MetricsCompat []string
	// ObjectivesFile is where what is counted for service level objectives outlives the process;
	// empty: it does not. It is this server's alone.
	ObjectivesFile string
	// TapSessions: nobody taps without a Session (SetSessions). Then Tapped, which may be nil,
	// hears of each tap before it begins; after an error there is none.
	TapSessions bool
	Tapped      func(context.Context, Tapping) error
}

// connectionLimits are what proxies may hold: each has one connection, and a second while it moves.
var connectionLimits = serve.Limits{
	Connections: maxStreams, PerAddress: 512, PerIdentity: 8,
	Handshakes: 1024, HandshakesPerAddress: 128, Handshake: 5 * time.Second, Ask: 30 * time.Second,
	Idle: time.Minute, Age: time.Hour,
	Streams: 4, Message: api.MaxRequest,
	// A third of what is held is garbage. Of a connection, and what is known of its proxy beside
	// its series, 16 KiB were measured.
	Base: 64<<20 + (SeriesBudget+HistoryBudget+RecordsBudget+slo.MaxBytes)*4/3, Each: 28 << 10,
}

// ConnectionLimits are the server's, from which follows what memory it needs.
func ConnectionLimits() serve.Limits { return connectionLimits }

// Server takes reports and answers questions.
type Server struct {
	cfg     Config
	store   *store
	records *records
	hub     *hub
	limits  serve.Limits

	sessions *sessions

	replicas atomic.Uint32 // a mark of which there are; 0: nobody has looked
	drawings drawings
	answers  answerCache

	mu sync.Mutex // guards streams
	// streams has at most one for each reporter: a newer one replaces the older.
	streams map[reporter]*stream
}

// stream is one proxy's report stream.
type stream struct {
	who     reporter
	end     func(why error)
	trimmed int // reports of more than a proxy can do; its own goroutine's
}

// New makes a Server. It starts nothing, but reads what is kept of objectives.
func New(cfg Config) *Server {
	v := &Server{cfg: cfg, store: newStore(viewsOf(cfg.MetricsCompat)), records: newRecords(),
		hub: newHub(), sessions: newSessions(cfg.TapSessions),
		limits: connectionLimits, streams: make(map[reporter]*stream)}
	v.openKeep()
	return v
}

// Serve takes reports from reports and questions from queries until the context ends; both
// listeners are closed then.
func (v *Server) Serve(ctx context.Context, reports, queries net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 3)
	go func() { done <- v.serveReports(ctx, reports) }()
	go func() { done <- v.serveQueries(ctx, queries) }()
	go func() { done <- v.keepTime(ctx) }()
	first := <-done
	cancel()
	defer v.hub.halves.stop()
	return errors.Join(first, <-done, <-done, v.closeKeep())
}

func (v *Server) serveReports(ctx context.Context, l net.Listener) error {
	cfg := spiffe.ServerConfig(v.cfg.Source, []string{"h2"}, v.admit)
	g := serve.NewGRPC("viz", cfg, v.limits, v.cfg.Metrics)
	g.Trust = v.cfg.Source
	vizgrpc.RegisterVizServer(g, v)
	go func() {
		<-ctx.Done()
		kill := time.AfterFunc(stopGrace, g.Stop)
		v.endAll(errStopping)
		g.GracefulStop()
		kill.Stop()
	}()
	if err := g.Serve(l); err != nil {
		return fmt.Errorf("serve reports: %w", err)
	}
	return nil
}

var errStopping = errors.New("viz is stopping")

// admit lets the trust domain's workloads in; what one may say is decided for each report.
func (v *Server) admit(p spiffe.Peer) error {
	if p.ID.TrustDomain() != v.cfg.TrustDomain {
		return fmt.Errorf("%s is not of trust domain %s", p.ID, v.cfg.TrustDomain)
	}
	_, _, err := spiffe.Workload(p.ID)
	return err
}

// reportStream is the server's end of a proxy's stream.
type reportStream = grpc.BidiStreamingServer[api.ReportRequest, api.ReportResponse]

// Report is one stream, from its first message to its last. The generated code calls it.
func (v *Server) Report(ss reportStream) error {
	ctx := ss.Context()
	who, err := reporterOf(ctx)
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	one := &stream{who: *who, end: func(why error) {
		serve.End(ctx, status.Error(codes.Unavailable, why.Error()))
	}}
	if err := v.begin(one); err != nil {
		return err
	}
	return v.receive(ss, one)
}

// receive takes what has been reported, and rests until there is more.
func (v *Server) receive(ss reportStream, one *stream) error {
	for serve.Received(ss.Context()) {
		m, err := ss.Recv()
		if err == nil {
			err = v.acceptReport(ss, one, m)
		}
		if err != nil {
			v.end(one)
			return v.ended(one, err)
		}
	}
	return &serve.Rest{Next: func() error { return v.receive(ss, one) }}
}

// ended is what the proxy hears at the end.
func (v *Server) ended(one *stream, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if code := status.Code(err); code == codes.PermissionDenied || code == codes.InvalidArgument {
		v.cfg.Log.Warn("refused a report", "id", one.who.id, "pod", one.who.pod, "err", err)
	}
	return err
}

func (v *Server) acceptReport(ss reportStream, one *stream, m *api.ReportRequest) error {
	r, err := checkReport(one.who, m)
	if err != nil {
		return err
	}
	before := one.trimmed
	if err := v.store.apply(time.Now(), one, r); err != nil {
		return err
	}
	if before == 0 && one.trimmed > 0 {
		v.cfg.Log.Warn("a proxy reports more than one can do: what is too much does not count",
			"id", one.who.id, "pod", one.who.pod, "requests_per_second", mostPerSecond,
			"bytes_per_second", mostBytesPerSecond)
	}
	answer := &api.ReportResponse{Acknowledged: r.sequence,
		IntervalMs: uint32(v.interval() / time.Millisecond), Replicas: v.replicas.Load()}
	if err := ss.Send(answer); err != nil {
		return fmt.Errorf("acknowledge a report: %w", err)
	}
	return nil
}

// interval is how often proxies report: each second while they are few, so that a page is live, and
// seldom enough that thousands cost viz less than a core.
func (v *Server) interval() time.Duration {
	v.mu.Lock()
	n := len(v.streams)
	v.mu.Unlock()
	switch {
	case n <= 200:
		return time.Second
	case n <= 2000:
		return 5 * time.Second
	}
	return 10 * time.Second
}

func reporterOf(ctx context.Context) (*reporter, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, errors.New("no peer")
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok {
		return nil, errors.New("the connection is not TLS")
	}
	who, err := spiffe.PeerOf(info.State)
	if err != nil {
		return nil, err
	}
	ns, account, err := spiffe.Workload(who.ID)
	if err != nil {
		return nil, err
	}
	return &reporter{who.ID.String(), ns, account, who.Pod}, nil
}

var errReplaced = errors.New("the same pod's proxy reports over a newer stream")

func (v *Server) begin(one *stream) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.streams[one.who]
	if most := v.limits.Admitted(); old == nil && len(v.streams) >= most {
		return status.Errorf(codes.ResourceExhausted,
			"viz hears %d proxies already: that is its limit", most)
	}
	if old != nil {
		old.end(errReplaced)
	}
	v.streams[one.who] = one
	return nil
}

func (v *Server) end(one *stream) {
	v.mu.Lock()
	if v.streams[one.who] == one {
		delete(v.streams, one.who)
	}
	v.mu.Unlock()
	v.store.end(time.Now(), one)
}

func (v *Server) endAll(why error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, one := range v.streams {
		one.end(why)
	}
	v.hub.endAll(why)
}
