package viz

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/trace"
)

// RequestQuery asks for single requests. Conditions that are empty hold of all.
type RequestQuery struct {
	From, FromNamespace string // who asked: "deploy/web"
	To, ToNamespace     string // whom: "svc/checkout", "deploy/checkout"
	Method              string
	Path                string // its beginning
	RequestID           string
	Reason              string
	Failed              bool // only those that did not go well
	MinDuration         time.Duration
	Limit               int // 0: DefaultLimit
}

// Requests is the answer to /api/requests, the newest first. Of a request that the proxies of both
// ends told of there is one, as its caller's saw it.
type Requests struct {
	Requests []*TapRecord `json:"requests"`
}

// call is one request: the caller's half, and what the callees' proxies told of its tries. Either
// may be missing.
type call struct {
	client  *recorded
	servers []*recorded
}

func (c *call) start() time.Time {
	if c.client != nil {
		return c.client.start
	}
	return c.servers[0].start
}

// callsOf joins the halves of requests. They come in the order of their beginnings.
func callsOf(records []recorded) []call {
	j := joined{hops: map[uint64]int{}, tries: map[trace.SpanID]int{}, pairs: map[pair][]int{}}
	for i := range records {
		if r := &records[i]; !r.inbound() {
			j.client(r)
		}
	}
	for i := range records {
		if r := &records[i]; r.inbound() {
			j.server(r)
		}
	}
	for i := range j.calls {
		slices.SortStableFunc(j.calls[i].servers, func(a, b *recorded) int {
			return a.start.Compare(b.start)
		})
	}
	slices.SortStableFunc(j.calls, func(a, b call) int { return a.start().Compare(b.start()) })
	return j.calls
}

// joined are calls so far, by what their other halves are known by: the number that the caller's
// proxy gave the request, the span of a try, or else its ID and who the two are.
type joined struct {
	calls []call
	hops  map[uint64]int
	tries map[trace.SpanID]int
	pairs map[pair][]int
}

// pair is between whom a request with an ID went.
type pair struct{ request, client, server string }

func (j *joined) client(r *recorded) {
	at := len(j.calls)
	j.calls = append(j.calls, call{client: r})
	if r.said.Hop != 0 {
		j.hops[r.said.Hop] = at
	}
	for _, t := range r.said.GetTrace().GetTries() {
		j.tries[spanID(t.GetSpanId())] = at
	}
	if r.traced() {
		j.tries[r.span()] = at
	}
	if p := (pair{r.requestID, r.said.Labels.OwnId, r.said.Labels.PeerId}); p.request != "" &&
		p.server != "" {
		j.pairs[p] = append(j.pairs[p], at)
	}
}

func (j *joined) server(r *recorded) {
	at, known := j.caller(r)
	if known {
		j.calls[at].servers = append(j.calls[at].servers, r)
		return
	}
	if r.said.Hop != 0 { // another try's half may come, and the caller's not
		j.hops[r.said.Hop] = len(j.calls)
	}
	j.calls = append(j.calls, call{servers: []*recorded{r}})
}

// caller is the call that the callee's half belongs to.
func (j *joined) caller(r *recorded) (at int, known bool) {
	if at, known = j.hops[r.said.Hop]; known {
		return at, true
	}
	if at, known = j.tries[r.parent()]; known && r.parent() != (trace.SpanID{}) {
		return at, true
	}
	var nearest time.Duration
	known = false
	p := pair{r.requestID, r.said.Labels.PeerId, r.said.Labels.OwnId}
	for _, i := range j.pairs[p] {
		d := r.start.Sub(j.calls[i].client.start).Abs()
		if !known || d < nearest {
			at, nearest, known = i, d, true
		}
	}
	return at, known
}

// request is the caller's half, and in it the callee's of the last try; or else that one.
func (c *call) request() *TapRecord {
	if c.client == nil {
		return c.servers[0].request()
	}
	out := c.client.request()
	if len(c.servers) > 0 {
		out.Inbound = c.servers[len(c.servers)-1].request()
	}
	return out
}

// requestList answers /api/requests.
func (v *Server) requestList(_ time.Time, q RequestQuery) (*Requests, error) {
	wanted, err := q.parse()
	if err != nil {
		return nil, err
	}
	latest, names := v.records.latest(), v.store.workloads()
	records := make([]recorded, len(latest))
	for i, k := range latest {
		records[i] = names.look(k)
	}
	out := &Requests{Requests: []*TapRecord{}}
	calls := callsOf(records)
	for i := len(calls) - 1; i >= 0 && len(out.Requests) < q.Limit; i-- {
		if r := calls[i].request(); wanted.has(r) {
			out.Requests = append(out.Requests, r)
		}
	}
	return out, nil
}

// wantedRequests is a checked RequestQuery.
type wantedRequests struct {
	RequestQuery
	from, to resource
}

func (q RequestQuery) parse() (*wantedRequests, error) {
	from, err := parseResource(q.From, q.FromNamespace)
	if err != nil {
		return nil, err
	}
	to, err := parseResource(q.To, q.ToNamespace)
	if err != nil {
		return nil, err
	}
	return &wantedRequests{q, from, to}, nil
}

func (w *wantedRequests) has(r *TapRecord) bool {
	return w.hasSides(r) &&
		(w.Method == "" || w.Method == r.Method) && strings.HasPrefix(r.Path, w.Path) &&
		(w.RequestID == "" || w.RequestID == r.RequestID) &&
		(w.Reason == "" || w.Reason == r.Reason) &&
		(!w.Failed || r.Reason != "" || slices.Contains(r.Flags, "failed")) &&
		r.Duration >= w.MinDuration.Seconds()
}

func (w *wantedRequests) hasSides(r *TapRecord) bool {
	callee := r
	if r.Inbound != nil {
		callee = r.Inbound
	}
	return w.from.names(r.ClientNamespace, r.ClientWorkload, r.ClientPod) &&
		(w.to.names(callee.ServerNamespace, callee.ServerWorkload, callee.ServerPod) ||
			r.Service != "" && w.to.has(key{r.Namespace, "service", r.Service}))
}

// names reports whether a resource is, or holds, a workload, "deployment/web", and its pod.
func (r resource) names(namespace, text, pod string) bool {
	kind, name, _ := strings.Cut(text, "/")
	switch w := (workload{namespace, kind, name, pod}); {
	case r.any():
		return true
	case r.kind == "":
		return w.namespace == r.namespace
	default:
		k, ok := w.of(r.kind)
		return ok && r.has(k)
	}
}

// The parameters of a question for requests, beside those for traces.
const (
	paramMethod    = "method"
	paramPath      = "path"
	paramRequestID = "requestId"
	paramReason    = "reason"
)

func parseRequestQuery(p url.Values) (q RequestQuery, err error) {
	q = RequestQuery{From: p.Get(paramFrom), FromNamespace: p.Get(paramFromNamespace),
		To: p.Get(paramTo), ToNamespace: p.Get(paramToNamespace), Method: p.Get(paramMethod),
		Path: p.Get(paramPath), RequestID: p.Get(paramRequestID), Reason: p.Get(paramReason),
		Failed: isSet(p.Get(paramFailed))}
	if q.MinDuration, err = parseDuration(p, paramMinDuration, 0, maxDuration); err != nil {
		return q, err
	}
	q.Limit, err = parseLimit(p)
	return q, err
}

// values is the question as parseRequestQuery reads it.
func (q *RequestQuery) values() url.Values {
	p := url.Values{}
	set(p, paramFrom, q.From)
	set(p, paramFromNamespace, q.FromNamespace)
	set(p, paramTo, q.To)
	set(p, paramToNamespace, q.ToNamespace)
	set(p, paramMethod, q.Method)
	set(p, paramPath, q.Path)
	set(p, paramRequestID, q.RequestID)
	set(p, paramReason, q.Reason)
	setBounds(p, q.Failed, q.MinDuration, q.Limit)
	return p
}
