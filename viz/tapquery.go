package viz

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

// Bounds of a tap.
const (
	// DefaultTapRPS is how many requests a second one proxy shows for a tap that does not say, and
	// MaxTapRPS the most that it may say.
	DefaultTapRPS = 100
	MaxTapRPS     = 1000
	// MaxTapDuration is how long a tap may last.
	MaxTapDuration = time.Hour
	// tapBytes is how much a request of a tap's takes, of the bytes that a proxy may spend on it.
	tapBytes = 2 << 10
)

// TapQuery is which requests a tap is to show. All conditions must hold; empty: whatever it is.
type TapQuery struct {
	Resource      string // whose requests, those that it sends and those that it gets: "deploy/web"
	Namespace     string // "": all of them
	From          string // "deploy/web": only requests that it sends
	FromNamespace string
	To            string // "svc/web": only requests that it gets
	ToNamespace   string

	Methods   []string // any of them
	Path      string   // a prefix
	Authority string
	// Statuses of HTTP, from and to; both 0: any.
	MinStatus, MaxStatus uint32
	Reasons              []string // any of them
	Route                string
	Identity             string        // the SPIFFE ID of either side
	Failed, Retried      bool          // only those that failed, or were tried more than once
	Latency              time.Duration // only those that took as long
	RequestID            string
	TraceID              string // 32 hexadecimal digits

	RPS      uint32        // of one proxy, at most; 0: DefaultTapRPS
	Limit    uint64        // ends after so many; 0: any
	Duration time.Duration // ends after that; 0: MaxTapDuration

	// Nonce is that of a TapSession, where viz wants one (ErrSession).
	Nonce string
}

// tapPlan is a query made ready: who is asked for what, and what is shown of it.
type tapPlan struct {
	*TapQuery
	target, from, to resource
	trace            []byte
	session          *session // by which it is permitted; nil: none is needed
}

// plan makes a query ready, or says what is wrong with it.
func (q *TapQuery) plan() (*tapPlan, error) {
	p := &tapPlan{TapQuery: q}
	var err error
	if p.target, err = parseSide(q.Resource, q.Namespace); err != nil {
		return nil, err
	}
	if p.from, err = parseSide(q.From, q.FromNamespace); err != nil {
		return nil, err
	}
	if p.to, err = parseSide(q.To, q.ToNamespace); err != nil {
		return nil, err
	}
	if p.from.kind == "service" || p.target.kind == "service" && !p.to.any() {
		return nil, fmt.Errorf("%w: a service sends no requests: name the workload that does",
			errQuery)
	}
	if p.trace, err = traceIDOf(q.TraceID); err != nil {
		return nil, err
	}
	return p, q.check()
}

// parseSide reads a resource of a request's side.
func parseSide(text, namespace string) (resource, error) {
	r, err := parseResource(text, namespace)
	switch {
	case err != nil:
		return r, err
	case r.kind == "serviceaccount", r.kind == "address":
		return r, fmt.Errorf("%w: a tap knows no %s: use an identity, or a workload", errQuery,
			r.kind)
	case r.kind == "namespace": // a namespace is in none
		return resource{namespace: cmp.Or(r.name, namespace)}, nil
	}
	return r, nil
}

// Check says what is wrong with a query.
func (q *TapQuery) Check() error {
	_, err := q.plan()
	return err
}

func (q *TapQuery) check() error {
	switch {
	case q.MinStatus > 999, q.MaxStatus > 999, q.MaxStatus > 0 && q.MinStatus > q.MaxStatus:
		return fmt.Errorf("%w: statuses from %d to %d: write 404, 400-499 or 5xx", errQuery,
			q.MinStatus, q.MaxStatus)
	case q.Latency < 0, q.Latency > MaxTapDuration:
		return fmt.Errorf("%w: a latency of %s: use 0 to %s", errQuery, q.Latency, MaxTapDuration)
	case q.RPS > MaxTapRPS:
		return fmt.Errorf("%w: %d requests a second of each proxy: the limit is %d", errQuery,
			q.RPS, MaxTapRPS)
	case q.Duration < 0, q.Duration > MaxTapDuration:
		return fmt.Errorf("%w: a tap of %s: the limit is %s", errQuery, q.Duration, MaxTapDuration)
	case len(q.Methods) > 16, len(q.Reasons) > 32:
		return fmt.Errorf("%w: %d methods and %d reasons: fewer, please", errQuery,
			len(q.Methods), len(q.Reasons))
	}
	for _, word := range q.Reasons {
		if why, _ := outcome.Said(word + ": "); why == outcome.Plain {
			return fmt.Errorf("%w: %q is no reason: docs/accesslog.md has the list", errQuery, word)
		}
	}
	for _, text := range append([]string{q.Path, q.Authority, q.Route, q.Identity, q.RequestID},
		q.Methods...) {
		if len(text) > MaxLabelLength {
			return fmt.Errorf("%w: a condition has %d bytes: the limit is %d", errQuery, len(text),
				MaxLabelLength)
		}
	}
	if q.Identity == "" {
		return nil
	}
	if _, err := spiffe.ParseWorkload(q.Identity); err != nil {
		return fmt.Errorf("%w: identity: %w", errQuery, err)
	}
	return nil
}

// Namespaces are those of which requests are asked for: in each of them is one side of every
// request, so that who may tap any of them may tap this. None: it is about all namespaces.
func (q *TapQuery) Namespaces() ([]string, error) {
	p, err := q.plan()
	if err != nil {
		return nil, err
	}
	return p.namespaces(), nil
}

func (p *tapPlan) namespaces() (all []string) {
	one, other := p.target, resource{}
	if p.directed() {
		one, other = p.sides()
	}
	for _, r := range []resource{one, other} {
		if r.namespace != "" && !slices.Contains(all, r.namespace) {
			all = append(all, r.namespace)
		}
	}
	return all
}

// within reports whether all that is asked for has a side in a namespace. What names none is
// confined to it, if it can be.
func (p *tapPlan) within(namespace string) bool {
	if all := p.namespaces(); len(all) > 0 {
		return slices.Contains(all, namespace)
	}
	if !p.from.any() && !p.to.any() {
		return false
	}
	p.target.namespace = namespace
	return true
}

// directed reports whether the two sides of what is asked for are told apart.
func (p *tapPlan) directed() bool { return !p.from.any() || !p.to.any() }

// sides are whose requests to whom are asked for, if that is told apart.
func (p *tapPlan) sides() (source, destination resource) {
	source, destination = p.from, p.to
	if source.any() {
		source = p.target
	}
	if destination.any() {
		destination = p.target
	}
	return source, destination
}

// ask is what a proxy of a workload is to look for. What two proxies see, the caller's looks for,
// and the callee's shows what the caller's has chosen.
func (p *tapPlan) ask(id uint32, who string, w workload) *api.Tap {
	t := &api.Tap{Id: id, RecordsPerSecond: cmp.Or(p.RPS, DefaultTapRPS)}
	t.BytesPerSecond = t.RecordsPerSecond * tapBytes
	f := p.filter()
	if p.Identity != who {
		f.PeerId = p.Identity
	}
	switch source, destination := p.sides(); {
	case p.directed():
		f.Direction = api.Direction_DIRECTION_OUTBOUND
		destination.narrow(f)
		t.HopsOnly = !source.holds(w)
	case p.target.holds(w):
		t.CallersToo = p.target.kind != "pod"
	default:
		f.Direction = api.Direction_DIRECTION_OUTBOUND
		p.target.narrow(f)
		t.HopsOnly = p.target.kind == "pod" // of all pods of the namespace it would be
	}
	if !t.HopsOnly {
		t.Filter = f
	}
	return t
}

// holds reports whether a workload is of the resource.
func (r resource) holds(w workload) bool {
	if r.any() {
		return true
	}
	k, ok := w.of(r.kind)
	return ok && r.has(k)
}

// narrow has a filter ask for the resource at the other side, as far as a filter can. Who shows it
// looks again.
func (r resource) narrow(f *api.TapFilter) {
	switch r.kind {
	case "service":
		f.Service, f.ServiceNamespace = r.name, r.namespace
	case "pod", "":
		f.PeerNamespace = r.namespace
	default:
		f.PeerNamespace, f.PeerWorkload = r.namespace, r.name
	}
}

// filter is what is asked of a request whoever's it is.
func (p *tapPlan) filter() *api.TapFilter {
	return &api.TapFilter{
		Methods: p.Methods, PathPrefix: p.Path, Authority: p.Authority, MinStatus: p.MinStatus,
		MaxStatus: p.MaxStatus, Reasons: p.Reasons, Failed: p.Failed,
		MinLatencyUs: uint64(p.Latency.Microseconds()), Retried: p.Retried, Route: p.Route,
		RequestId: p.RequestID, TraceId: p.trace,
	}
}

// Matches reports whether a record is one that is asked for, by what any of its two halves says.
func (q *TapQuery) Matches(r *TapRecord) bool {
	p, err := q.plan()
	return err == nil && p.shows(r)
}

func (p *tapPlan) shows(r *TapRecord) bool {
	return p.between(r) && (p.holds(r) || r.Inbound != nil && p.holds(r.Inbound))
}

// between reports whether a record is of requests between the sides that are asked for.
func (p *tapPlan) between(r *TapRecord) bool {
	if p.Identity != "" && r.ClientID != p.Identity && r.ServerID != p.Identity {
		return false
	}
	if !p.directed() {
		return p.target.any() || p.target.sends(r) || p.target.gets(r)
	}
	source, destination := p.sides()
	return source.sends(r) && destination.gets(r)
}

// sends reports whether a request is from the resource.
func (r resource) sends(t *TapRecord) bool {
	return r.is(t.ClientWorkload, t.ClientPod, t.ClientNamespace)
}

// gets reports whether a request is for the resource.
func (r resource) gets(t *TapRecord) bool {
	if r.kind == "service" {
		return (r.name == "" || t.Service == r.name) &&
			(r.namespace == "" || t.Namespace == r.namespace)
	}
	return r.is(t.ServerWorkload, t.ServerPod, cmp.Or(t.ServerNamespace, t.Namespace))
}

// is reports whether a workload is of the resource; its title is "deployment/web".
func (r resource) is(title, pod, namespace string) bool {
	kind, name, _ := strings.Cut(title, "/")
	switch {
	case r.namespace != "" && namespace != r.namespace:
		return false
	case r.kind == "":
		return true
	case r.kind == "pod":
		return pod != "" && (r.name == "" || pod == r.name)
	}
	return kind == r.kind && (r.name == "" || name == r.name)
}

// holds reports whether one half is as it is asked for.
func (p *tapPlan) holds(r *TapRecord) bool {
	switch {
	case len(p.Methods) > 0 && !slices.Contains(p.Methods, r.Method),
		!strings.HasPrefix(r.Path, p.Path),
		p.Authority != "" && !r.calls(p.Authority),
		p.MinStatus+p.MaxStatus > 0 && !p.hasStatus(r.Status),
		len(p.Reasons) > 0 && !slices.Contains(p.Reasons, r.Reason),
		p.Failed && !slices.Contains(r.Flags, "failed"),
		p.Retried && r.Tries < 2,
		r.Duration < p.Latency.Seconds(),
		p.Route != "" && cmp.Or(r.Route, defaultRoute) != p.Route,
		p.RequestID != "" && r.RequestID != p.RequestID,
		p.TraceID != "" && !strings.EqualFold(r.TraceID, p.TraceID):
		return false
	}
	return true
}

func (p *tapPlan) hasStatus(status uint32) bool {
	most := p.MaxStatus
	if most == 0 {
		most = 999
	}
	return status != 0 && status >= p.MinStatus && status <= most
}

// calls reports whether a request is for an authority, whatever its port if that names none.
func (r *TapRecord) calls(authority string) bool {
	host, port := outcome.SplitPort(authority)
	return strings.EqualFold(r.Host, host) && (port == 0 || port == r.Port)
}

// traceIDOf reads 32 hexadecimal digits; "" is none.
func traceIDOf(text string) ([]byte, error) {
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != 0 && len(id) != 16 {
		return nil, fmt.Errorf("%w: %q is no trace ID: it has 32 hexadecimal digits", errQuery,
			text)
	}
	return id, nil
}
