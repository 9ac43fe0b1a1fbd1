package policy

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// AccessLog is what a proxy is told of its access log; nil: nothing.
func AccessLog(l *crd.AccessLogSettings) *api.AccessLog {
	switch {
	case l == nil:
		return nil
	case l.Mode == crd.TelemetryDisabled:
		return &api.AccessLog{Format: api.Format_FORMAT_NONE}
	}
	out := &api.AccessLog{
		Format:       api.Format_FORMAT_JSON,
		FailuresOnly: l.Filter == crd.AccessLogFailures, LinesPerSecond: uint32(l.LinesPerSecond),
	}
	if l.Format == crd.AccessLogText {
		out.Format = api.Format_FORMAT_TEXT
	}
	if l.SampleRate != nil {
		out.SampleNumerator, out.SampleDenominator = l.SampleRate.Parts()
	}
	return out
}

// Tracing is what a proxy is told of tracing by a policy, where the mesh says something or nothing
// (nil) of it; nil: nothing. A policy that names no collector is about the mesh's, and where that
// has none about what viz is shown.
func Tracing(mesh *api.Tracing, s *crd.TracingSettings) *api.Tracing {
	if s.Mode == crd.TelemetryDisabled {
		return nil
	}
	out := newTracing()
	if mesh != nil {
		out = proto.CloneOf(mesh)
	}
	if s.Provider != nil {
		out.Endpoint = s.Provider.Address
		if out.Protocol == api.Transport_TRANSPORT_UNSPECIFIED {
			out.Protocol = api.Transports[DefaultProtocol]
		}
	}
	if s.SamplingRate != nil {
		of, all := s.SamplingRate.Parts()
		out.Ratio = uint32(uint64(of) * api.MaxRatio / uint64(all))
	}
	slow, _ := time.ParseDuration(s.KeepSlow) // checked where the policy was read; empty: none
	out.KeepFailed = out.KeepFailed || s.KeepFailed
	if slow > 0 {
		out.KeepFailed, out.SlowMs = true, uint64(slow.Milliseconds())
	}
	return out
}
