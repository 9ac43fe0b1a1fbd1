package dev

import (
	"go.yaml.in/yaml/v3"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// tracing says where spans go. On one machine all traces are sampled unless it says otherwise.
func (p *parser) tracing(n *yaml.Node) {
	t := &api.Tracing{Protocol: api.Transport_TRANSPORT_GRPC, Ratio: api.MaxRatio,
		SpansPerSecond: api.DefaultSpansPerSecond}
	on := true
	seen := p.fields(n, "tracing", map[string]func(*yaml.Node){
		"endpoint": func(v *yaml.Node) {
			t.Endpoint = p.text(v, "tracing: endpoint")
			if err := api.CheckEndpoint(t.Endpoint); t.Endpoint != "" && err != nil {
				p.fail(v, "tracing: endpoint: %w", err)
			}
		},
		"protocol": func(v *yaml.Node) {
			t.Protocol = api.Transports[p.word(v, "tracing: protocol", "grpc", "http")]
		},
		"sampling": func(v *yaml.Node) {
			var err error
			text := p.text(v, "tracing: sampling")
			if t.Ratio, on, err = crd.ParseSampling(text); text != "" && err != nil {
				p.fail(v, "tracing: sampling: %w", err)
			}
		},
	})
	if !seen["endpoint"] {
		p.fail(n, "tracing: needs an endpoint: HOST:PORT of an OpenTelemetry collector")
	}
	if on {
		p.mesh.Tracing = t
	}
}
