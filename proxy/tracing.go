package proxy

import (
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/otlp"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// tracing is the proxy's tracer of the moment. Those before it export what they have, and end.
type tracing struct {
	mu     sync.Mutex   // guards what follows
	tracer *otlp.Tracer // nil: tracing is off
	over   bool         // no request will be traced any more
}

// tracingSettings is what destination says of tracing; nil: there is none.
func tracingSettings(m *api.Tracing) (*otlp.Settings, error) {
	if m == nil {
		return nil, nil
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return &otlp.Settings{
		Sampling: trace.Sampling{Ratio: m.Ratio, Hold: m.KeepFailed, PerSecond: m.SpansPerSecond},
		Endpoint: m.Endpoint,
		HTTP:     m.Protocol == api.Transport_TRANSPORT_HTTP,
		Slow:     time.Duration(m.SlowMs) * time.Millisecond,
	}, nil
}

// trace makes sure that the tracer of the moment has these settings; nil: there is none.
func (p *Proxy) trace(s *otlp.Settings) *otlp.Tracer {
	t := &p.tracing
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tracer != nil {
		if s != nil && t.tracer.Settings == *s {
			return t.tracer
		}
		t.tracer.Stop()
		t.tracer = nil
	}
	if s == nil || t.over {
		return nil
	}
	t.tracer = otlp.New(otlp.Options{
		Settings:  *s,
		Dial:      p.dialCollector,
		Workload:  p.workload,
		Identity:  p.cfg.Identity,
		Version:   p.version,
		UserAgent: p.userAgent(),
		Log:       p.sampled,
		Metrics:   p.metrics,
		Age:       p.limits.SpanAge,
	})
	p.tasks.Go(t.tracer.Run)
	return t.tracer
}

// settleTraces has the last spans exported; done is closed once they were, or could not be.
func (p *Proxy) settleTraces() (done <-chan struct{}) {
	t := &p.tracing
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.tracer == nil {
		none := make(chan struct{})
		close(none)
		return none
	}
	t.tracer.Stop()
	return t.tracer.Done()
}

// workload is what destination takes this proxy's for.
func (p *Proxy) workload() metric.Workload {
	w := p.discovery.Self()
	return metric.Workload{Namespace: w.GetNamespace(), Kind: w.GetKind(), Name: w.GetName(),
		Pod: w.GetPod()}
}
