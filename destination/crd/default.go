package crd

// The retry budget of a profile that names none, or only part of one: Linkerd's.
const (
	DefaultRetryRatio          = 0.2
	DefaultMinRetriesPerSecond = 10
	DefaultRetryTTL            = "10s"
)

// Default fills what a user may leave out. The API server does the same from the
// CustomResourceDefinition.
func (p *ServiceProfile) Default() {
	if p.Spec.RetryBudget == nil {
		return
	}
	p.Spec.RetryBudget.fill()
}

// Budget returns the profile's retry budget with every field set. It does not change the profile.
func (p *ServiceProfile) Budget() RetryBudget {
	b := p.Spec.RetryBudget.DeepCopy()
	if b == nil {
		b = &RetryBudget{}
	}
	b.fill()
	return *b
}

func (b *RetryBudget) fill() {
	if b.RetryRatio == nil {
		ratio := DefaultRetryRatio
		b.RetryRatio = &ratio
	}
	if b.MinRetriesPerSecond == nil {
		least := uint32(DefaultMinRetriesPerSecond)
		b.MinRetriesPerSecond = &least
	}
	if b.TTL == "" {
		b.TTL = DefaultRetryTTL
	}
}
