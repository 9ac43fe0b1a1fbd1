package viz

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parameters of a tap, beside those of other questions.
const (
	tapParamMethod    = "method"
	tapParamPath      = "path"
	tapParamAuthority = "authority"
	tapParamStatus    = "status"
	tapParamReason    = "reason"
	tapParamIdentity  = "identity"
	tapParamFailed    = "failed"
	tapParamRetried   = "retried"
	tapParamLatency   = "latency"
	tapParamRequestID = "requestId"
	tapParamTraceID   = "traceId"
	tapParamRPS       = "maxRps"
	tapParamLimit     = "limit"
	tapParamDuration  = "duration"
)

// tap answers with requests as they end, a line of JSON each, or as server-sent events where those
// are asked for, and each second with what was counted (TapCounts).
func (v *Server) tap(w http.ResponseWriter, r *http.Request) {
	q, err := parseTapQuery(r.URL.Query())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	p, err := q.plan()
	if err != nil {
		fail(w, statusOf(err), err)
		return
	}
	if err := v.sessions.permit(r.Context(), nonceOf(r), p); err != nil {
		refuseTap(w, err)
		return
	}
	t, err := v.hub.begin(p)
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	defer v.hub.end(t)
	if err := v.writeDown(r.Context(), p); err != nil {
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	v.cfg.Log.Info("a tap begins", "tap", t.id, "of", r.URL.RawQuery)
	defer func() { v.cfg.Log.Info("the tap has ended", "tap", t.id, "shown", t.soFar(0).Shown) }()
	lines := newLines(w, r)
	// An error means that the asker has gone.
	_ = v.hub.follow(r.Context(), t, lines.write)
}

// lines is an answer that goes on.
type lines struct {
	w             http.ResponseWriter
	control       *http.ResponseController
	gone          <-chan struct{} // closed when the asker has
	before, after string
}

// newLines begins an answer of lines of JSON, or of server-sent events where those are asked for.
func newLines(w http.ResponseWriter, r *http.Request) *lines {
	l := &lines{w: w, control: http.NewResponseController(w), gone: r.Context().Done()}
	kind := "application/x-ndjson"
	if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
		l.before, l.after = "data: ", "\n"
		kind = "text/event-stream"
	}
	w.Header().Set("Content-Type", kind)
	return l
}

// write sends one more, at once.
func (l *lines) write(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return l.put(line)
}

// put sends a line, at once.
func (l *lines) put(line []byte) error {
	l.control.SetWriteDeadline(time.Now().Add(queryTimeout)) // only a test's recorder has none
	if _, err := fmt.Fprintf(l.w, "%s%s\n%s", l.before, line, l.after); err != nil {
		return err
	}
	return l.control.Flush()
}

// parseTapQuery reads what a tap is to show.
func parseTapQuery(p url.Values) (*TapQuery, error) {
	q := &TapQuery{
		Resource: p.Get(paramResource), Namespace: p.Get(paramNamespace), From: p.Get(paramFrom),
		FromNamespace: p.Get(paramFromNamespace), To: p.Get(paramTo),
		ToNamespace: p.Get(paramToNamespace), Methods: listOf(p.Get(tapParamMethod)),
		Path: p.Get(tapParamPath), Authority: p.Get(tapParamAuthority),
		Reasons: listOf(p.Get(tapParamReason)), Route: p.Get(paramRoute),
		Identity: p.Get(tapParamIdentity), Failed: isSet(p.Get(tapParamFailed)),
		Retried: isSet(p.Get(tapParamRetried)), RequestID: p.Get(tapParamRequestID),
		TraceID: p.Get(tapParamTraceID),
	}
	if isSet(p.Get(paramAll)) {
		q.Namespace = ""
	}
	if !isSet(p.Get(paramStream)) {
		return nil, fmt.Errorf("%w: a tap goes on: add stream=1", errQuery)
	}
	var err error
	if q.MinStatus, q.MaxStatus, err = ParseStatuses(p.Get(tapParamStatus)); err != nil {
		return nil, err
	}
	if q.Latency, err = parseDuration(p, tapParamLatency, 0, MaxTapDuration); err != nil {
		return nil, err
	}
	if q.Duration, err = parseDuration(p, tapParamDuration, 0, MaxTapDuration); err != nil {
		return nil, err
	}
	rps, err := parseNumber(p, tapParamRPS, 32)
	if err != nil {
		return nil, err
	}
	q.RPS = uint32(rps)
	q.Limit, err = parseNumber(p, tapParamLimit, 64)
	return q, err
}

// listOf takes apart what commas separate.
func listOf(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}

// parseNumber reads a number of so many bits; absent: 0.
func parseNumber(p url.Values, name string, bits int) (uint64, error) {
	text := p.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%w: %s=%q is no number", errQuery, name, text)
	}
	return n, nil
}

// ParseStatuses reads which statuses of HTTP are meant: "404", "5xx" or "400-499"; "" is any, which
// is 0 to 0.
func ParseStatuses(text string) (from, to uint32, err error) {
	if text == "" {
		return 0, 0, nil
	}
	low, high, ranged := strings.Cut(text, "-")
	if !ranged {
		low = strings.ReplaceAll(strings.ToLower(text), "x", "0")
		high = strings.ReplaceAll(strings.ToLower(text), "x", "9")
	}
	a, errLow := strconv.ParseUint(low, 10, 16)
	b, errHigh := strconv.ParseUint(high, 10, 16)
	if errLow != nil || errHigh != nil || len(low) != 3 || len(high) != 3 || a < 100 || a > b {
		return 0, 0, fmt.Errorf("%w: status %q: write 404, 5xx or 400-499", errQuery, text)
	}
	return uint32(a), uint32(b), nil
}

// conditions are which requests a query asks for, to be read by people.
func (q *TapQuery) conditions() string {
	p := q.values()
	for _, bound := range []string{paramStream, tapParamRPS, tapParamLimit, tapParamDuration} {
		p.Del(bound)
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		all = append(all, name+"="+printable(p.Get(name)))
	}
	return strings.Join(all, " ")
}

// values are a query's parameters.
func (q *TapQuery) values() url.Values {
	p := url.Values{paramStream: {"1"}}
	for name, value := range map[string]string{
		paramResource: q.Resource, paramNamespace: q.Namespace, paramFrom: q.From,
		paramFromNamespace: q.FromNamespace, paramTo: q.To, paramToNamespace: q.ToNamespace,
		tapParamMethod: strings.Join(q.Methods, ","), tapParamPath: q.Path,
		tapParamAuthority: q.Authority, tapParamReason: strings.Join(q.Reasons, ","),
		paramRoute: q.Route, tapParamIdentity: q.Identity, tapParamRequestID: q.RequestID,
		tapParamTraceID: q.TraceID,
	} {
		if value != "" {
			p.Set(name, value)
		}
	}
	if q.MaxStatus > 0 {
		p.Set(tapParamStatus, fmt.Sprintf("%03d-%03d", q.MinStatus, q.MaxStatus))
	}
	for name, set := range map[string]bool{tapParamFailed: q.Failed, tapParamRetried: q.Retried} {
		if set {
			p.Set(name, "1")
		}
	}
	for name, d := range map[string]time.Duration{tapParamLatency: q.Latency,
		tapParamDuration: q.Duration} {
		if d != 0 {
			p.Set(name, d.String())
		}
	}
	for name, n := range map[string]uint64{tapParamRPS: uint64(q.RPS), tapParamLimit: q.Limit} {
		if n != 0 {
			p.Set(name, strconv.FormatUint(n, 10))
		}
	}
	return p
}
