package destination

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/destination/registry"
	policystatus "github.com/tulle-mesh/tulle/destination/status"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// Limits of the server.
const (
	maxStreams       = 16384 // of one replica, where its memory suffices: 10,000 proxies and some
	maxStreamsPerPod = 4     // a proxy has one, and a second while it moves
	// new streams: 10,000 proxies come back in 20 s, and leave CPU for those that are here
	admitPerSecond = 500
	admitBurst     = 1000 // at once

	// streamAge is when a stream is ended, give or take a fifth, so that proxies spread over
	// replicas that came later.
	streamAge    = 30 * time.Minute
	helloTimeout = 10 * time.Second // for the first message

	// What a proxy says on one stream is read no faster than this. Each new key costs an answer,
	// of a large service a millisecond; a proxy that begins asks for all of its keys at once.
	requestsPerSecond = 100
	requestBurst      = 2 * api.MaxKeys
)

// connectionLimits are what callers may hold. A proxy has one connection, and a second while it
// moves; a node's pods (110 by default) may come from one address.
var connectionLimits = serve.Limits{
	Connections: maxStreams, PerAddress: 512, PerIdentity: 8,
	Handshakes: 1024, HandshakesPerAddress: 128, Handshake: 5 * time.Second, Ask: helloTimeout,
	Idle: time.Minute, Age: 40 * time.Minute, // beyond a stream's own age
	Streams: maxStreamsPerPod, Message: api.MaxRequest,
	Base: 256 << 20, Each: 48 << 10, // measured: 34 KiB, twenty keys included, and 10 of garbage
}

// ConnectionLimits are the server's, from which follows what memory it needs.
func ConnectionLimits() serve.Limits { return connectionLimits }

// Config is what a Destination needs.
type Config struct {
	Mesh     Mesh
	Source   Source
	Status   *policystatus.Writer // nil where policies have nowhere to keep a status
	Identity *spiffe.Source       // our own SVID, and the roots that callers are verified with
	Log      *slog.Logger
	Metrics  prometheus.Registerer // may be nil
}

// requestLimit is how fast one stream's requests are read.
type requestLimit struct {
	perSecond rate.Limit
	burst     int
}

// Destination answers proxies from a Source.
type Destination struct {
	cfg      Config
	registry *registry.Registry
	hub      *hub
	synced   chan struct{}
	admit    *rate.Limiter

	limits   serve.Limits
	requests requestLimit
	streams  atomic.Int64
	mu       sync.Mutex // guards perPod
	perPod   map[types.NamespacedName]*podShare
	messages prometheus.Counter
	refusals *prometheus.CounterVec // of streams
	rejected *rejections            // of resources

	standings *standings   // of policies
	healths   *healths     // of pods
	lendings  *lendings    // of rate limits
	peers     atomic.Int64 // other replicas that tell this one what they hear
}

// New prepares a Destination. Serve starts it.
func New(cfg Config) *Destination {
	reg := registry.New()
	d := &Destination{
		cfg: cfg, registry: reg, hub: newHub(reg, &cfg.Mesh), synced: make(chan struct{}),
		admit:    rate.NewLimiter(admitPerSecond, admitBurst),
		perPod:   map[types.NamespacedName]*podShare{},
		limits:   connectionLimits,
		requests: requestLimit{requestsPerSecond, requestBurst},
		rejected: newRejections(cfg.Log),

		standings: newStandings(reg),
		healths:   newHealths(reg),
		lendings:  newLendings(),
	}
	d.register(cfg.Metrics)
	return d
}

func (d *Destination) register(metrics prometheus.Registerer) {
	d.messages = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tulle_destination_messages_total", Help: "Messages sent to proxies."})
	d.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tulle_destination_refusals_total", Help: "Streams refused, by gRPC code."},
		[]string{"code"})
	if metrics == nil {
		return
	}
	d.healths.register(metrics)
	d.lendings.register(metrics)
	metrics.MustRegister(d.messages, d.refusals, d.rejected.count, freshness{d.cfg.Source},
		prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Name: "tulle_destination_streams", Help: "Proxies connected."},
			func() float64 { return float64(d.streams.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tulle_destination_peers",
			Help: "Other replicas that tell this one what proxies say to them."},
			func() float64 { return float64(d.peers.Load()) }),
		prometheus.NewCounterFunc(
			prometheus.CounterOpts{Name: "tulle_destination_examined_answers_total",
				Help: "Answers that streams looked at to find what to send."},
			func() float64 { return float64(d.hub.examined.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tulle_destination_cells",
			Help: "Distinct questions that are asked."},
			func() float64 { return float64(d.hub.size()) }))
}

// Ready is nil once the source has been read completely.
func (d *Destination) Ready() error {
	if d.isSynced() {
		return nil
	}
	err := errors.New("the state of the cluster has not been read yet")
	if missing := d.cfg.Source.Missing(); missing != nil {
		err = fmt.Errorf("%w: %w", err, missing)
	}
	return err
}

// Serve answers on l until the context ends or the source fails. It closes l.
func (d *Destination) Serve(ctx context.Context, l net.Listener) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return d.cfg.Source.Run(ctx, d.registry, sync.OnceFunc(func() { close(d.synced) }))
	})
	group.Go(func() error {
		d.hub.run(ctx)
		return nil
	})
	group.Go(func() error {
		d.standings.run(ctx)
		return nil
	})
	group.Go(func() error {
		d.healths.run(ctx)
		return nil
	})
	group.Go(func() error {
		d.lendings.run(ctx)
		return nil
	})
	group.Go(func() error {
		d.followPeers(ctx)
		return nil
	})
	group.Go(func() error { return d.writeStatus(ctx) })
	group.Go(func() error { return d.serve(ctx, l) })
	return group.Wait()
}

func (d *Destination) serve(ctx context.Context, l net.Listener) error {
	cfg := spiffe.ServerConfig(d.cfg.Identity, []string{"h2"}, d.authorize)
	server := serve.NewGRPC("destination", cfg, d.limits, d.cfg.Metrics)
	server.Trust = d.cfg.Identity
	destinationgrpc.RegisterDestinationServer(server, d)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		// proxies keep what they have and go to another replica; there is nothing to finish
		server.Stop()
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
		err = nil
	}
	server.Stop()
	if err != nil {
		return fmt.Errorf("serve destination: %w", err)
	}
	return nil
}

// authorize lets workloads of our own trust domain in; what they may ask is decided per stream.
func (d *Destination) authorize(p spiffe.Peer) error {
	if p.ID.TrustDomain() != d.cfg.Mesh.TrustDomain {
		return fmt.Errorf("%s is not of trust domain %s", p.ID, d.cfg.Mesh.TrustDomain)
	}
	return nil
}

// peerIdentity is a verified peer, taken apart.
type peerIdentity struct {
	spiffe.Peer
	namespace, serviceAccount string
}

func peerOf(ctx context.Context) (peerIdentity, error) {
	p, ok := peer.FromContext(ctx)
	info, isTLS := credentials.TLSInfo{}, false
	if ok {
		info, isTLS = p.AuthInfo.(credentials.TLSInfo)
	}
	if !isTLS {
		return peerIdentity{}, status.Error(codes.Unauthenticated,
			"the connection is not mutual TLS")
	}
	who, err := spiffe.PeerOf(info.State)
	if err != nil {
		return peerIdentity{}, status.Error(codes.Unauthenticated, err.Error())
	}
	ns, sa, err := spiffe.Workload(who.ID)
	if err != nil {
		return peerIdentity{}, status.Error(codes.PermissionDenied, err.Error())
	}
	return peerIdentity{who, ns, sa}, nil
}

// enter counts a stream in, or says why not.
func (d *Destination) enter(
	pod types.NamespacedName,
) (share *podShare, leave func(), err error) {
	if d.streams.Add(1) <= int64(d.limits.Admitted()) {
		share = d.join(pod)
	}
	if share == nil {
		d.streams.Add(-1)
		return nil, nil, status.Error(codes.ResourceExhausted,
			"too many streams: connect to another replica, or wait")
	}
	return share, func() {
		d.part(pod, share)
		d.streams.Add(-1)
	}, nil
}

func (d *Destination) isSynced() bool {
	select {
	case <-d.synced:
		return true
	default:
		return false
	}
}

// identify finds the caller's pod. Its name was attested when the SVID was made; it counts while
// the pod is there and runs the same account.
func (d *Destination) identify(who peerIdentity) (caller, *api.Workload, error) {
	c := caller{namespace: who.namespace, pod: who.Pod}
	if who.Pod == "" {
		return c, &api.Workload{Namespace: who.namespace, Kind: "serviceaccount",
			Name: who.serviceAccount}, nil
	}
	var workload *api.Workload
	d.cfg.Mesh.read(d.registry, func(v *view) {
		w := v.Workload(registry.Name{Namespace: who.namespace, Name: who.Pod})
		if w == nil || w.ServiceAccount != who.serviceAccount {
			return
		}
		c.runsAs(v, w)
		workload = workloadOf(w)
	})
	if workload == nil {
		return caller{}, nil, status.Errorf(codes.PermissionDenied,
			"no pod %s/%s runs as service account %s", who.namespace, who.Pod, who.serviceAccount)
	}
	return c, workload, nil
}
