package dev

import (
	"go.yaml.in/yaml/v3"

	"github.com/tulle-mesh/tulle/destination/policy"
)

// tracing says which requests are traced, and which collector takes the spans; without one viz
// alone is shown them. On one machine all traces are sampled unless it says otherwise.
func (p *parser) tracing(n *yaml.Node) {
	s := policy.TracingSettings{Protocol: policy.DefaultProtocol, Sampling: "100%"}
	where := map[string]*yaml.Node{}
	field := func(name string, into *string) func(*yaml.Node) {
		return func(v *yaml.Node) {
			where[name] = v
			if text := p.text(v, "tracing: "+name); text != "" {
				*into = text
			}
		}
	}
	seen := p.fields(n, "tracing", map[string]func(*yaml.Node){
		"endpoint": field("endpoint", &s.Endpoint),
		"protocol": field("protocol", &s.Protocol),
		"sampling": field("sampling", &s.Sampling),
	})
	if seen["protocol"] && !seen["endpoint"] {
		p.fail(n, "tracing: protocol: needs an endpoint: HOST:PORT of an OpenTelemetry collector")
	}
	p.mesh.Tracing = s.Message(func(name string, err error) {
		p.fail(where[name], "tracing: %s: %w", name, err)
	})
}
