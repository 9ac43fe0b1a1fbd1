package crd

import "cmp"

// What a section of a BackendTrafficPolicy means where it says only part of it. The least ring is
// Envoy's and the table's size the paper's; the window of the success rate is Linkerd's; what the
// deviation needs is Envoy's, and so is what adaptive concurrency goes by.
const (
	defaultChoices = 2
	defaultRingMin = 1024
	defaultRingMax = 1 << 16
	defaultTable   = 65537

	defaultMinWeight  = 10 // per cent
	defaultAggression = 1

	defaultWindow       = "10s"
	defaultRateRequests = 5
	defaultFactor       = 1.9
	defaultMinEndpoints = 5
	defaultMinRequests  = 100

	defaultMinConcurrency   = 3
	defaultMaxConcurrency   = 1000
	defaultBuffer           = 25
	defaultPercentile       = 50
	defaultLimitWindow      = "100ms"
	defaultBaselineEvery    = "1m"
	defaultBaselineRequests = 50
)

// Default fills what a user may leave out. The API server does the same from the
// CustomResourceDefinition.
func (p *BackendTrafficPolicy) Default() {
	if lb := p.Spec.LoadBalancer; lb != nil {
		lb.fill()
	}
	if l := p.Spec.Locality; l != nil && l.Spillover == "" {
		l.Spillover = SpilloverLoad
	}
	if s := p.Spec.SlowStart; s != nil {
		orDefault(&s.MinWeightPercent, defaultMinWeight)
		orDefault(&s.Aggression, defaultAggression)
	}
	if o := p.Spec.OutlierDetection; o != nil {
		o.fill()
	}
	if p.Spec.HealthCheck != nil {
		p.Spec.HealthCheck.fill()
	}
	if p.Spec.RetryBudget != nil {
		p.Spec.RetryBudget.fill()
	}
	if p.Spec.AdaptiveConcurrency != nil {
		p.Spec.AdaptiveConcurrency.fill()
	}
}

func (a *AdaptiveConcurrency) fill() {
	orDefault(&a.MinRequests, defaultMinConcurrency)
	orDefault(&a.MaxRequests, defaultMaxConcurrency)
	orDefault(&a.BufferPercent, defaultBuffer)
	orDefault(&a.Percentile, defaultPercentile)
	orDefault(&a.BaselineRequests, defaultBaselineRequests)
	a.Window = cmp.Or(a.Window, defaultLimitWindow)
	a.BaselineInterval = cmp.Or(a.BaselineInterval, defaultBaselineEvery)
}

func (lb *LoadBalancer) fill() {
	if lb.LeastRequest != nil {
		orDefault(&lb.LeastRequest.Choices, defaultChoices)
	}
	if lb.ConsistentHash == nil {
		return
	}
	if r := lb.ConsistentHash.Ring; r != nil {
		orDefault(&r.MinSize, defaultRingMin)
		orDefault(&r.MaxSize, defaultRingMax)
	}
	if m := lb.ConsistentHash.Maglev; m != nil {
		orDefault(&m.TableSize, defaultTable)
	}
}

func (o *OutlierDetection) fill() {
	if s := o.SuccessRate; s != nil {
		orDefault(&s.MinRequests, defaultRateRequests)
		if s.Window == "" {
			s.Window = defaultWindow
		}
	}
	if d := o.Deviation; d != nil {
		orDefault(&d.Factor, defaultFactor)
		orDefault(&d.MinEndpoints, defaultMinEndpoints)
		orDefault(&d.MinRequests, defaultMinRequests)
		if d.Interval == "" {
			d.Interval = defaultWindow
		}
	}
}

func orDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
