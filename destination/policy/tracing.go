package policy

import (
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// TracingSettings is what users write of the whole mesh's tracing, in flags or in a file.
type TracingSettings struct {
	Endpoint   string // HOST:PORT of a collector; empty: there is none
	Protocol   string // "grpc", "http"
	Sampling   string // a percentage, or crd.Off; empty: of what a collector takes the default
	KeepSlower time.Duration
}

// DefaultProtocol is a collector's where nobody names one.
const DefaultProtocol = "grpc"

// Message is what proxies are told; nil: nothing. What is wrong with a field is told by its name:
// "endpoint", "protocol", "sampling", "keep-slower".
func (s *TracingSettings) Message(wrong func(field string, err error)) *api.Tracing {
	if s.Endpoint == "" && s.Sampling == "" && s.KeepSlower == 0 {
		return nil
	}
	out, on := newTracing(), true
	if s.Endpoint != "" {
		s.collector(out, wrong)
	}
	if s.Sampling != "" {
		var err error
		if out.Ratio, on, err = crd.ParseSampling(s.Sampling); err != nil {
			wrong("sampling", err)
		}
	}
	if s.KeepSlower < 0 || s.KeepSlower > api.MaxSlow {
		wrong("keep-slower", fmt.Errorf("%s is not up to %s", s.KeepSlower, api.MaxSlow))
	}
	out.KeepFailed, out.SlowMs = s.KeepSlower > 0, uint64(s.KeepSlower.Milliseconds())
	if !on {
		return nil
	}
	return out
}

// collector says who takes spans. Without one viz alone is shown them.
func (s *TracingSettings) collector(out *api.Tracing, wrong func(field string, err error)) {
	out.Endpoint = s.Endpoint
	if err := api.CheckEndpoint(s.Endpoint); err != nil {
		wrong("endpoint", err)
	}
	var known bool
	if out.Protocol, known = api.Transports[s.Protocol]; !known {
		wrong("protocol", fmt.Errorf("%q is not one of grpc, http", s.Protocol))
	}
}

// newTracing is what proxies are told where users say no more than that there is tracing.
func newTracing() *api.Tracing {
	return &api.Tracing{Ratio: api.DefaultRatio, SpansPerSecond: api.DefaultSpansPerSecond}
}
