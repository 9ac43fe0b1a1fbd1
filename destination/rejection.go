package destination

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tulle-mesh/tulle/destination/api"
)

const (
	// maxRejections bounds what is remembered of all streams together; the counter goes on beyond
	// it.
	maxRejections = 4096
	// maxLogged bounds how many rejections are known to have been logged: of 10,000 proxies that
	// cannot use one route, one line is enough.
	maxLogged = 1024
)

// Rejection is a resource that a proxy cannot use: it said so, or it lacks a capability that the
// resource needs.
type Rejection struct {
	Kind      string `json:"kind"` // "route", "cluster", ...
	Name      string `json:"name"`
	Version   string `json:"version"`
	Reason    string `json:"reason"`
	Namespace string `json:"namespace"` // the proxy's
	Pod       string `json:"pod,omitempty"`
}

// rejections remembers what the connected proxies cannot use. An entry goes when its proxy is sent
// another version, when the resource is removed, and with the stream.
type rejections struct {
	log   *slog.Logger
	count *prometheus.CounterVec // by kind

	mu     sync.Mutex // guards everything below
	size   int
	byID   map[resourceID]map[*stream]Rejection
	logged *lru.LRU[string, struct{}]
}

func newRejections(log *slog.Logger) *rejections {
	logged, _ := lru.NewLRU[string, struct{}](maxLogged, nil) // the size is positive: no error
	return &rejections{
		log: log, byID: map[resourceID]map[*stream]Rejection{}, logged: logged,
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_destination_rejected_resources_total",
			Help: "Resources that a proxy could not use, by kind.",
		}, []string{"kind"}),
	}
}

// add remembers that a stream's proxy cannot use a version of a resource.
func (r *rejections) add(s *stream, id resourceID, version, reason string) {
	kind := kindName(id.kind)
	r.count.WithLabelValues(kind).Inc()
	r.mu.Lock()
	defer r.mu.Unlock()
	if key := fmt.Sprintf("%s\x00%s\x00%s", kind, id.name, reason); !r.logged.Contains(key) {
		r.logged.Add(key, struct{}{})
		r.log.Warn("a proxy cannot use a resource", "kind", kind, "name", id.name, "reason", reason,
			"namespace", s.caller.namespace, "pod", s.caller.pod)
	}
	known := r.byID[id]
	if _, again := known[s]; !again {
		if r.size >= maxRejections {
			return
		}
		r.size++
	}
	if known == nil {
		known = map[*stream]Rejection{}
		r.byID[id] = known
	}
	known[s] = Rejection{kind, id.name, version, reason, s.caller.namespace, s.caller.pod}
}

// remove forgets what a stream's proxy could not use, if anything.
func (r *rejections) remove(s *stream, id resourceID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.byID[id]
	if _, ok := known[s]; !ok {
		return
	}
	r.size--
	if delete(known, s); len(known) == 0 {
		delete(r.byID, id)
	}
}

// kindName is how a kind is shown: "route", "endpoints".
func kindName(k api.Kind) string {
	return strings.ToLower(strings.TrimPrefix(k.String(), "KIND_"))
}
