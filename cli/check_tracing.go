package cli

import (
	"context"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// checkTracing names applications that do not pass on the headers of traces, as far as viz has seen
// requests that are traced.
func (c *checker) checkTracing(ctx context.Context) {
	c.begin("tracing")
	addr, stop, err := c.forward(ctx, names.Viz, config.VizQueryPort)
	if err != nil {
		c.warn(passesOn, "viz cannot be asked: "+err.Error(), "kubectl -n "+names.Namespace+
			" get pods")
		return
	}
	defer stop()
	c.checkPropagation(ctx, viz.NewClient(addr))
}

const passesOn = "every application passes on the headers of traces"

func (c *checker) checkPropagation(ctx context.Context, client *viz.Client) {
	p, err := client.Propagation(ctx)
	if err != nil {
		c.warn(passesOn, err.Error(), "kubectl -n "+names.Namespace+" logs deploy/"+names.Viz)
		return
	}
	if p.Traced == 0 {
		c.ok("no request is traced, so nobody can lose the headers of traces")
		return
	}
	c.listed(passesOn, warning, p.Losing(), len(p.Workloads),
		"have it copy traceparent and tracestate to the requests that it makes (docs/tracing.md)")
}
