package cli

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
)

// tracingFlags say which requests proxies make spans of, and where these go. `meshctl install`
// passes them on to destination, which tells the proxies.
type tracingFlags struct {
	endpoint, protocol, sampling string
	keepSlower                   time.Duration
}

// defaultSampling is what a busy mesh can afford, and Istio's default.
const defaultSampling = "1%"

func (t *tracingFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&t.endpoint, "tracing-endpoint", "",
		"HOST:PORT of an OpenTelemetry collector, to which proxies export spans in plaintext; "+
			"without it there are none")
	flags.StringVar(&t.protocol, "tracing-protocol", "grpc",
		"how the collector is spoken to: grpc (OTLP/gRPC), http (OTLP/HTTP)")
	flags.StringVar(&t.sampling, "tracing-sampling", defaultSampling,
		"how many of the traces that begin in the mesh are sampled, or off; the annotation "+
			names.AnnotationTraceSampling+" says otherwise for a pod or a namespace")
	flags.DurationVar(&t.keepSlower, "tracing-keep-slower", 0,
		"export what is not sampled too if it fails or takes as long as this")
}

// message is what proxies are told; nil: nothing.
func (t *tracingFlags) message() (*api.Tracing, error) {
	if t.endpoint == "" {
		return nil, nil
	}
	if err := api.CheckEndpoint(t.endpoint); err != nil {
		return nil, fmt.Errorf("--tracing-endpoint: %w", err)
	}
	protocol, ok := api.Transports[t.protocol]
	if !ok {
		return nil, fmt.Errorf("--tracing-protocol %q: use grpc or http", t.protocol)
	}
	ratio, on, err := crd.ParseSampling(t.sampling)
	if err != nil {
		return nil, fmt.Errorf("--tracing-sampling: %w", err)
	}
	if !on {
		return nil, nil
	}
	if t.keepSlower < 0 || t.keepSlower > api.MaxSlow {
		return nil, fmt.Errorf("--tracing-keep-slower %s: choose one up to %s", t.keepSlower,
			api.MaxSlow)
	}
	return &api.Tracing{Endpoint: t.endpoint, Protocol: protocol, Ratio: ratio,
		KeepFailed: t.keepSlower > 0, SlowMs: uint64(t.keepSlower.Milliseconds()),
		SpansPerSecond: api.DefaultSpansPerSecond}, nil
}

// args are the flags for destination.
func (t *tracingFlags) args() (args []string) {
	if t.endpoint == "" {
		return nil
	}
	args = []string{"--tracing-endpoint=" + t.endpoint, "--tracing-protocol=" + t.protocol,
		"--tracing-sampling=" + t.sampling}
	if t.keepSlower > 0 {
		args = append(args, "--tracing-keep-slower="+t.keepSlower.String())
	}
	return args
}
