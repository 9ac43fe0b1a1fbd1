package record

import (
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// appendText appends a record as Istio has Envoy write one by default, so that what reads those
// lines reads these:
//
//	[START_TIME] "METHOD PATH PROTOCOL" RESPONSE_CODE RESPONSE_FLAGS RESPONSE_CODE_DETAILS
//	CONNECTION_TERMINATION_DETAILS "UPSTREAM_TRANSPORT_FAILURE_REASON" BYTES_RECEIVED BYTES_SENT
//	DURATION UPSTREAM_SERVICE_TIME "X_FORWARDED_FOR" "USER_AGENT" "REQUEST_ID" "AUTHORITY"
//	"UPSTREAM_HOST" UPSTREAM_CLUSTER UPSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS
//	DOWNSTREAM_REMOTE_ADDRESS REQUESTED_SERVER_NAME ROUTE_NAME
//
// What is not known is "-". The details are our reason's word, and the failure's is its words.
func appendText(b []byte, r *outcome.Record) []byte {
	t := text{b}
	t.time(r.Start)
	t.asked(r)
	t.bare(strconv.Itoa(r.Status), flagsOf(r), detailsOf(r), "")
	t.quoted(r.Detail)
	t.bare(strconv.FormatUint(r.RequestBytes, 10), strconv.FormatUint(r.ResponseBytes, 10),
		milliseconds(r.Latency), firstByte(r))
	t.quoted("", r.UserAgent, r.RequestID, r.Authority, r.Endpoint)
	t.bare(clusterOf(r), "", "", r.ClientAddress, "", routeOf(r))
	return append(t.b, '\n')
}

const textTime = "2006-01-02T15:04:05.000Z"

// text is a line so far.
type text struct{ b []byte }

func (t *text) time(at time.Time) {
	t.b = append(at.UTC().AppendFormat(append(t.b, '['), textTime), ']')
}

func (t *text) asked(r *outcome.Record) {
	protocol := ""
	switch {
	case r.Method == "":
	case r.HTTP1:
		protocol = "HTTP/1.1"
	default:
		protocol = "HTTP/2"
	}
	t.b = append(t.b, ` "`...)
	for i, s := range [...]string{r.Method, r.Path, protocol} {
		if i > 0 {
			t.b = append(t.b, ' ')
		}
		t.b = appendKnown(t.b, s, true)
	}
	t.b = append(t.b, '"')
}

// bare appends fields that end at a space.
func (t *text) bare(fields ...string) {
	for _, s := range fields {
		t.b = appendKnown(append(t.b, ' '), s, true)
	}
}

// quoted appends fields that end at a quotation mark.
func (t *text) quoted(fields ...string) {
	for _, s := range fields {
		t.b = append(appendKnown(append(t.b, ` "`...), s, false), '"')
	}
}

func appendKnown(b []byte, s string, bare bool) []byte {
	if s == "" {
		return append(b, '-')
	}
	return appendSafe(b, s, bare)
}

// envoyFlags are Envoy's words for ours, as far as it has one.
var envoyFlags = map[outcome.Reason]string{
	outcome.NoRoute: "NR", outcome.NoEndpoints: "UH", outcome.QueueFull: "UO",
	outcome.QueueTimeout: "UO", outcome.ConnectFailed: "UF", outcome.ConnectTimeout: "UF",
	outcome.TLSFailed: "UF", outcome.IdentityMismatch: "UF", outcome.RefusedStream: "UR",
	outcome.ResetByPeer: "UC", outcome.RequestTimeout: "UT", outcome.TryTimeout: "UT",
	outcome.IdleTimeout: "SI", outcome.DeadlinePassed: "DT", outcome.ClientGone: "DC",
	outcome.RetryBudget: "UO", outcome.RetryLimit: "URX", outcome.Denied: "UAEX",
	outcome.BadRequest: "DPE", outcome.HeaderTooLarge: "DPE", outcome.Overload: "OM",
	outcome.Draining: "LR", outcome.ClusterLimit: "UO", outcome.RateLimited: "RL",
	outcome.FaultInjected: "FI", outcome.Loop: "NR",
}

func flagsOf(r *outcome.Record) string {
	flag := envoyFlags[r.Reason]
	switch {
	case !r.Delayed:
		return flag
	case flag == "":
		return "DI"
	}
	return "DI," + flag
}

// detailsOf is a reason, or Envoy's word for an answer of the backend's own.
func detailsOf(r *outcome.Record) string {
	if r.Reason == outcome.Plain && r.Status != 0 {
		return "via_upstream"
	}
	return r.Reason.String()
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func firstByte(r *outcome.Record) string {
	if r.FirstByte == 0 || r.Tries == 0 {
		return ""
	}
	return milliseconds(r.FirstByte)
}

// clusterOf is what Istio calls a port of this pod's, or what we call where the request went.
func clusterOf(r *outcome.Record) string {
	if r.Labels.Direction == metric.Inbound {
		return "inbound|" + strconv.FormatUint(uint64(r.Labels.Port), 10) + "||"
	}
	return r.Labels.Backend
}

func routeOf(r *outcome.Record) string {
	if r.Labels.Route == "" {
		return "default"
	}
	return r.Labels.Route
}

// appendDropped appends a line that says how many are missing. As text it has the form of any
// other.
func appendDropped(b []byte, at time.Time, n uint64, asText bool) []byte {
	words := strconv.FormatUint(n, 10) + " lines were dropped"
	if !asText {
		l := line{append(at.UTC().AppendFormat(append(b, `{"time":"`...), timeFormat), '"')}
		l.size("tulle.log.dropped", n)
		return append(l.b, "}\n"...)
	}
	return appendText(b, &outcome.Record{Start: at, Detail: words})
}
