package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/identity/names"
)

// tracingFlags say which requests proxies make spans of, and where these go. `meshctl install`
// passes them on to destination, which tells the proxies.
type tracingFlags struct{ policy.TracingSettings }

func (t *tracingFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&t.Endpoint, "tracing-endpoint", "",
		"HOST:PORT of an OpenTelemetry collector, to which proxies export spans in plaintext; "+
			"without it they are in 'meshctl viz traces' alone")
	flags.StringVar(&t.Protocol, "tracing-protocol", policy.DefaultProtocol,
		"how the collector is spoken to: grpc (OTLP/gRPC), http (OTLP/HTTP)")
	flags.StringVar(&t.Sampling, "tracing-sampling", "",
		"how many of the traces that begin in the mesh are sampled, or off (default 1% with "+
			"--tracing-endpoint, else off); the annotation "+names.AnnotationTraceSampling+
			" says otherwise for a pod or a namespace")
	flags.DurationVar(&t.KeepSlower, "tracing-keep-slower", 0,
		"export what is not sampled too if it fails or takes as long as this")
}

// message is what proxies are told; nil: nothing.
func (t *tracingFlags) message() (m *api.Tracing, err error) {
	m = t.Message(func(field string, wrong error) {
		err = errors.Join(err, fmt.Errorf("--tracing-%s: %w", field, wrong))
	})
	return m, err
}

// args are the flags for destination.
func (t *tracingFlags) args() (args []string) {
	if t.Endpoint != "" {
		args = []string{"--tracing-endpoint=" + t.Endpoint, "--tracing-protocol=" + t.Protocol}
	}
	if t.Sampling != "" {
		args = append(args, "--tracing-sampling="+t.Sampling)
	}
	if t.KeepSlower > 0 {
		args = append(args, "--tracing-keep-slower="+t.KeepSlower.String())
	}
	return args
}
