package viz

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/viz/api"
)

// What one stream of records may bring.
const (
	maxRecords       = 512  // in one message
	recordsPerSecond = 8000 // what is beyond is dropped, and counted
	maxTapCounts     = 64   // in one message
)

// recordsStream is the server's end of a proxy's stream.
type recordsStream = grpc.BidiStreamingServer[api.RecordsRequest, api.RecordsResponse]

// watched is one proxy's stream of records.
type watched struct {
	who   reporter
	ctx   context.Context
	end   func(why error)
	lapse allowed

	// Its own goroutine's:
	known   bool // its first message has come
	told    uint64
	dropped uint64
	counts  map[uint32]uint64 // what matched of each tap that there is

	// The hub's lock guards these:
	workload workload
	asked    []*api.EndpointsQuestion // that it is yet to be sent
}

// allowed bounds what a stream brings in a second.
type allowed struct {
	second time.Time
	n      int
}

// take says how many of n there is room for.
func (a *allowed) take(now time.Time, n int) int {
	if now.Sub(a.second) >= time.Second {
		a.second, a.n = now, 0
	}
	n = min(n, recordsPerSecond-a.n)
	a.n += n
	return n
}

// Records is one stream of single requests, from its first message to its last. The generated code
// calls it.
func (v *Server) Records(ss recordsStream) error {
	ctx := ss.Context()
	who, err := reporterOf(ctx)
	if err != nil {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	one := &watched{who: *who, ctx: ctx, counts: map[uint32]uint64{},
		end: func(why error) { serve.End(ctx, status.Error(codes.Unavailable, why.Error())) }}
	if err := v.hub.enter(one, v.limits.Admitted()); err != nil {
		return err
	}
	return v.follow(ss, one)
}

// follow takes what is shown, and says which taps there are, until there is nothing of either.
func (v *Server) follow(ss recordsStream, one *watched) error {
	for {
		err := v.tell(ss, one)
		if err == nil && !serve.Received(one.ctx) {
			return &serve.Rest{Next: func() error { return v.follow(ss, one) }}
		}
		var m *api.RecordsRequest
		if err == nil {
			m, err = ss.Recv()
		}
		if err == nil {
			err = v.takeRecords(time.Now(), one, m)
		}
		if err != nil {
			v.hub.leave(one)
			return v.recordsEnded(one, err)
		}
	}
}

// tell says which taps there are, if that is news. Whose proxy it is must be known first.
func (v *Server) tell(ss recordsStream, one *watched) error {
	if !one.known {
		return nil
	}
	if m := v.hub.news(one); m != nil {
		return ss.Send(m)
	}
	return nil
}

// recordsEnded is what the proxy hears at the end.
func (v *Server) recordsEnded(one *watched, err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	if code := status.Code(err); code == codes.PermissionDenied || code == codes.InvalidArgument {
		v.cfg.Log.Warn("refused records of requests", "id", one.who.id, "pod", one.who.pod,
			"err", err)
	}
	return err
}

func (v *Server) takeRecords(now time.Time, one *watched, m *api.RecordsRequest) error {
	if err := checkRecords(one.who, m); err != nil {
		return err
	}
	if !one.known {
		w, err := checkWorkload(one.who, m.Workload)
		if err != nil {
			return err
		}
		one.known, one.dropped = true, m.Dropped
		v.hub.introduce(one, w)
	}
	lost := m.Dropped - min(one.dropped, m.Dropped)
	one.dropped = m.Dropped
	room := one.lapse.take(now, len(m.Records))
	v.hub.count(one, m.Taps, lost+uint64(len(m.Records)-room))
	v.hub.answered(one, m.Endpoints)
	for _, r := range m.Records[:room] {
		if !v.sessions.needed || tellsAnyhow(r) {
			v.records.take(now, one.who, r)
		}
		v.hub.take(now, one, r)
	}
	return nil
}

// checkRecords refuses a message that no proxy of ours sends.
func checkRecords(who reporter, m *api.RecordsRequest) error {
	switch {
	case len(m.StartId) > MaxStartIDLength:
		return status.Errorf(codes.InvalidArgument, "start_id has %d bytes: the limit is %d",
			len(m.StartId), MaxStartIDLength)
	case len(m.Records) > maxRecords:
		return status.Errorf(codes.ResourceExhausted, "the message has %d records: the limit is %d",
			len(m.Records), maxRecords)
	case len(m.Taps) > maxTapCounts:
		return status.Errorf(codes.ResourceExhausted, "the message has %d counts: the limit is %d",
			len(m.Taps), maxTapCounts)
	}
	if err := checkAnswers(m.Endpoints); err != nil {
		return err
	}
	for i, r := range m.Records {
		if err := checkRecord(who, r); err != nil {
			return status.Errorf(status.Code(err), "record %d: %s", i,
				status.Convert(err).Message())
		}
	}
	return nil
}

// Bounds of a record.
const (
	maxRecordText  = 4 << 10 // of each text: a proxy cuts them at 1 KiB, and escapes some
	maxRecordTries = 64
	maxRecordTaps  = 64
)

// latest is the last moment that RFC 3339 can write.
var latest = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).UnixMicro()

func checkRecord(who reporter, r *api.Record) error {
	if r.GetLabels() == nil {
		return status.Error(codes.InvalidArgument, "it has no labels")
	}
	l := labelsOf(r.Labels)
	if err := checkLabels(who, &l); err != nil {
		return err
	}
	for _, text := range recordTexts(r) {
		if len(text) > maxRecordText {
			return status.Errorf(codes.InvalidArgument, "a text has %d bytes: the limit is %d",
				len(text), maxRecordText)
		}
	}
	for _, n := range [...]uint64{r.DurationUs, r.FirstByteUs, r.LimitUs, r.RequestBytes,
		r.ResponseBytes} {
		if n > maxCounter {
			return status.Errorf(codes.InvalidArgument, "a number is %d: the limit is 2^53", n)
		}
	}
	switch {
	case r.StartUnixUs < 0, r.StartUnixUs > latest:
		return status.Errorf(codes.InvalidArgument, "start_unix_us %d is no time", r.StartUnixUs)
	case len(r.Taps) > maxRecordTaps:
		return status.Errorf(codes.InvalidArgument, "it is for %d taps: the limit is %d",
			len(r.Taps), maxRecordTaps)
	case r.Trace != nil:
		return checkTrace(r.Trace)
	}
	return nil
}

func recordTexts(r *api.Record) []string {
	all := []string{r.Method, r.Path, r.Authority, r.UserAgent, r.RequestId, r.ClientAddress,
		r.Endpoint, r.GrpcStatus, r.Reason, r.Detail, r.GetTrace().GetQuery()}
	for _, t := range r.GetTrace().GetTries() {
		all = append(all, t.GetEndpoint(), t.GetGrpcStatus(), t.GetReason())
	}
	return all
}

func checkTrace(t *api.RecordTrace) error {
	if len(t.TraceId) != 16 || len(t.SpanId) != 8 {
		return status.Errorf(codes.InvalidArgument,
			"trace_id has %d bytes and span_id %d: want 16 and 8", len(t.TraceId), len(t.SpanId))
	}
	if len(t.Tries) > maxRecordTries {
		return status.Errorf(codes.InvalidArgument, "it has %d tries: the limit is %d",
			len(t.Tries), maxRecordTries)
	}
	for _, id := range [...]struct {
		id   []byte
		size int
	}{{t.ParentId, 8}, {t.LinkedTraceId, 16}, {t.LinkedSpanId, 8}} {
		if n := len(id.id); n != 0 && n != id.size {
			return status.Errorf(codes.InvalidArgument, "an ID has %d bytes: want %d", n, id.size)
		}
	}
	for _, one := range t.Tries {
		switch {
		case one == nil:
			return status.Error(codes.InvalidArgument, "a try is empty")
		case len(one.SpanId) != 8:
			return status.Errorf(codes.InvalidArgument, "a try's span_id has %d bytes: want 8",
				len(one.SpanId))
		case max(one.BegunUs, one.SentUs, one.EndedUs) > maxCounter:
			return status.Error(codes.InvalidArgument, "a try's time is more than 2^53")
		}
	}
	return nil
}
