package viz

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/viz/api"
)

// maxWhyCalls bounds the requests that one ID may be of.
const maxWhyCalls = 50

// Why is the answer to /api/why: what became of the requests with an ID.
type Why struct {
	ID    string    `json:"id"`
	Calls []WhyCall `json:"calls"` // in the order of their beginnings; none: nothing is known
	// More are those beyond the bound of an answer.
	More int `json:"more,omitempty"`
}

// WhyCall is one request from one workload to another, as the proxies of both saw it.
type WhyCall struct {
	Client  *TapRecord   `json:"client,omitempty"` // absent: the caller's proxy told nothing
	Servers []*TapRecord `json:"servers,omitempty"`
	Tries   []WhyTry     `json:"tries,omitempty"` // of a request that is traced
	// Happened is what happened, in words, and Advice what to do about it.
	Happened []string `json:"happened"`
	Advice   []Advice `json:"advice,omitempty"`
}

// Failed reports whether it did not go well for its caller.
func (c *WhyCall) Failed() bool {
	r := c.Client
	if r == nil && len(c.Servers) > 0 {
		r = c.Servers[0]
	}
	return r != nil && (r.Reason != "" || slices.Contains(r.Flags, "failed"))
}

// WhyTry is one try of a request.
type WhyTry struct {
	Endpoint   string  `json:"tulle.endpoint,omitempty"`
	BegunMs    float64 `json:"begunMs"` // after the request
	DurationMs float64 `json:"durationMs"`
	Status     uint32  `json:"http.response.status_code,omitempty"`
	GRPCStatus string  `json:"rpc.response.status_code,omitempty"`
	Reason     string  `json:"tulle.reason,omitempty"`
	Hedge      bool    `json:"hedge,omitempty"`
	Lost       bool    `json:"lost,omitempty"` // another one was faster
}

// Advice is what to do about a reason.
type Advice struct {
	Reason string `json:"tulle.reason"`
	Text   string `json:"text"`
}

// why answers /api/why.
func (v *Server) why(_ time.Time, id string) (*Why, error) {
	if id == "" {
		return nil, fmt.Errorf("%w: id is missing: that of a request or of a trace", errQuery)
	}
	calls := callsOf(v.records.about(id, v.store.workloads()))
	out := &Why{ID: printable(id), Calls: []WhyCall{}}
	out.More = max(len(calls)-maxWhyCalls, 0)
	for i := range calls[:len(calls)-out.More] {
		out.Calls = append(out.Calls, calls[i].why())
	}
	return out, nil
}

// about are the records of a request's or a trace's ID.
func (r *records) about(id string, names workloadNames) (out []recorded) {
	traceID, isTrace := parseTraceID(strings.ToLower(id))
	known := map[*kept]bool{}
	take := func(all []*kept) {
		for _, k := range all {
			if (k.requestID == id || isTrace && k.trace == traceID) && !known[k] {
				known[k] = true
				out = append(out, names.look(k))
			}
		}
	}
	take(r.latest())
	for _, t := range r.all() {
		take(t.records)
	}
	return out
}

func (c *call) why() WhyCall {
	out := WhyCall{}
	w := whyWords{out: &out}
	if c.client != nil {
		out.Client, out.Tries = c.client.request(), triesOf(c.client)
		w.client(out.Client)
	}
	for _, s := range c.servers {
		r := s.request()
		out.Servers = append(out.Servers, r)
		w.server(r, c.client != nil)
	}
	if c.client != nil && len(c.servers) == 0 {
		w.missing(out.Client)
	}
	for _, t := range out.Tries {
		w.advise(t.Reason)
	}
	return out
}

func triesOf(r *recorded) (out []WhyTry) {
	for _, t := range r.said.GetTrace().GetTries() {
		out = append(out, tryOf(r.said, t))
	}
	return out
}

func tryOf(m *api.Record, t *api.RecordTry) WhyTry {
	ended := cmp.Or(t.EndedUs, m.DurationUs)
	out := WhyTry{Endpoint: printable(t.Endpoint), BegunMs: millisOf(micros(t.BegunUs)),
		DurationMs: millisOf(micros(ended - min(ended, t.BegunUs))), Status: t.Status,
		Reason: printable(t.Reason), Hedge: t.Hedge, Lost: t.Lost}
	if t.GrpcStatus != "" {
		out.GRPCStatus = outcome.GRPCName(printable(t.GrpcStatus))
	}
	return out
}

// whyWords writes what happened.
type whyWords struct{ out *WhyCall }

func (w *whyWords) say(format string, args ...any) {
	w.out.Happened = append(w.out.Happened, fmt.Sprintf(format, args...))
}

// advise says once what to do about a reason.
func (w *whyWords) advise(reason string) { w.next(Advice{reason, AdviceFor(reason)}) }

func (w *whyWords) next(a Advice) {
	if a.Text != "" && !slices.Contains(w.out.Advice, a) {
		w.out.Advice = append(w.out.Advice, a)
	}
}

// client is what the caller's proxy saw.
func (w *whyWords) client(r *TapRecord) {
	if r.Method == "" {
		w.say("%s was connected to %s for %s", r.caller(), r.callee(), spoken(r.Duration))
	} else {
		route := ""
		if r.Route != "" {
			route = ", by its route " + r.Route
		}
		w.say("%s asked %s for %s%s: %s after %s", r.caller(), r.callee(), r.asked(), route,
			answered(r.Status, r.GRPC), spoken(r.Duration))
	}
	w.because(r, r.caller())
	switch {
	case r.Tries == 0 && r.Reason != "":
		w.say("it was sent to nobody")
	case r.Tries > 1 && len(w.out.Tries) == 0:
		w.say("it was tried %d times; where, is known of requests that are traced", r.Tries)
	case r.Tries > 1:
		w.say("it was tried %d times", r.Tries)
	}
	if len(w.out.Tries) > 1 {
		for i, t := range w.out.Tries {
			w.try(i, &t)
		}
	}
	if slices.Contains(r.Flags, "delayed") {
		w.say("a FaultInjection delayed it")
	}
}

func (w *whyWords) try(i int, t *WhyTry) {
	what := "try"
	if t.Hedge {
		what = "hedge"
	}
	where := "no endpoint"
	if t.Endpoint != "" {
		where = t.Endpoint
	}
	how := answered(t.Status, t.GRPCStatus)
	if t.Reason != "" {
		how += ", " + t.Reason
	}
	if t.Lost {
		how = "another one was faster"
	}
	w.say("%s %d at %s, after %s: %s within %s", what, i+1, where, spoken(t.BegunMs/1000), how,
		spoken(t.DurationMs/1000))
}

// because says why a proxy says that it did not go well.
func (w *whyWords) because(r *TapRecord, whose string) {
	switch {
	case r.Reason != "" && r.Error != "":
		w.say("%s's proxy says %s: %s", whose, r.Reason, r.Error)
	case r.Reason != "":
		w.say("%s's proxy says %s", whose, r.Reason)
	}
	w.advise(r.Reason)
}

// server is what the callee's proxy saw.
func (w *whyWords) server(r *TapRecord, joined bool) {
	name := cmp.Or(r.ServerPod, r.callee())
	if !joined {
		w.say("%s was asked by %s for %s; the caller's proxy tells nothing of it", name, r.caller(),
			r.asked())
	}
	by := "its application answered"
	if r.Reason != "" || r.Status == 0 {
		by = "its caller got"
	}
	if r.Method == "" {
		w.say("%s: a connection for %s", name, spoken(r.Duration))
	} else {
		w.say("%s: %s %s after %s", name, by, answered(r.Status, r.GRPC), spoken(r.Duration))
	}
	w.because(r, name)
	if r.Reason == "" && r.Status >= 500 {
		w.next(Advice{"", "the error is the application's own: look into the log of " + name})
	}
}

// missing says what it means that the callee's proxy told nothing.
func (w *whyWords) missing(r *TapRecord) {
	switch {
	case r.Endpoint == "" && r.Tries == 0:
	case r.Security != metric.MTLS.String():
		w.say("%s has no proxy that could tell how it went there", r.callee())
	case slices.Contains(r.Flags, "failed") || r.TraceID != "":
		w.say("the proxy of %s tells nothing of it: it may not have come there", r.callee())
	}
}

// spoken is a time as people say it.
func spoken(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// traced reports whether a record is one of a trace.
func (r *recorded) traced() bool { return r.trace != trace.ID{} }
