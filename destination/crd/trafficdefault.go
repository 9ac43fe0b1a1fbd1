package crd

// What a section of a BackendTrafficPolicy means where it says only part of it. The least ring is
// Envoy's and the table's size the paper's; the window of the success rate is Linkerd's, and what
// the deviation needs is Envoy's.
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
)

// Default fills what a user may leave out. The API server does the same from the
// CustomResourceDefinition.
func (p *BackendTrafficPolicy) Default() {
	if lb := p.Spec.LoadBalancer; lb != nil {
		lb.fill()
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
