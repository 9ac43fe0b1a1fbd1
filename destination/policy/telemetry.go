package policy

import (
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
