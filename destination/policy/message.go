package policy

import (
	"math"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// HTTP makes the rules that a caller's proxy routes by. Find looks up the clusters of a rule's own
// backends and mirrors, of each one and in their order.
func (p *Policy) HTTP(find func([]Backend) []*api.Backend) []*api.HTTPRule {
	if p == nil || p.Carried() != "" {
		return nil
	}
	out := make([]*api.HTTPRule, 0, len(p.Rules))
	for i := range p.Rules {
		r := &p.Rules[i]
		rule := r.named()
		rule.Filters = withMirrors(r.Filters, r.Mirrors, find)
		rule.Retry, rule.Hedge = r.Retry, r.Hedge
		for _, h := range r.Faults {
			rule.Faults = append(rule.Faults, h.Fault)
		}
		if len(r.Backends) > 0 {
			rule.Backends = find(r.Backends)
		}
		for i, b := range r.Backends {
			if len(b.Mirrors) > 0 && rule.Backends[i].Answer == 0 {
				rule.Backends[i].Filters = withMirrors(b.Filters, b.Mirrors, find)
			}
		}
		if r.Timeout > 0 || r.Try > 0 {
			rule.Timeouts = &api.Timeouts{
				RequestMs: milliseconds(r.Timeout), TryMs: milliseconds(r.Try),
			}
		}
		out = append(out, rule)
	}
	return out
}

// Named makes the rules that the service's own proxies measure by: which requests are a rule's, and
// which of their responses are failures. What a request is worth to its caller is not in them.
func (p *Policy) Named() []*api.HTTPRule {
	if p == nil || p.Carried() != "" {
		return nil
	}
	out := make([]*api.HTTPRule, 0, len(p.Rules))
	for i := range p.Rules {
		if r := &p.Rules[i]; !r.isUnmatched() {
			out = append(out, r.named())
		}
	}
	return out
}

// isUnmatched is true of the rule for what no other one matches: no such request comes to the
// service's own proxies by it, and any other is none of it.
func (r *OriginRule) isUnmatched() bool {
	return len(r.Backends) == 1 && r.Backends[0].Answer == answerNoMatch
}

func (r *OriginRule) named() *api.HTTPRule {
	return &api.HTTPRule{Match: r.Match, ResponseClasses: r.Responses, Origin: r.origin()}
}

func (r *OriginRule) origin() *api.Origin {
	return &api.Origin{
		Group: r.Origin.Group, Kind: r.Origin.Kind,
		Namespace: r.Origin.Namespace, Name: r.Origin.Name, Rule: r.label(),
	}
}

// label is what metrics call the rule. A Service may have several routes, and each a rule of number
// 0: a number goes with its route's name.
func (r *OriginRule) label() string {
	if _, err := strconv.Atoi(r.Name); err != nil || r.Origin.Kind == crd.Kind {
		return r.Name
	}
	return r.Origin.Name + "/" + r.Name
}

// RetryBudget makes the budget of a service's retries: the policy's, or the default.
func (p *Policy) RetryBudget() *api.RetryBudget {
	b := Budget{
		Ratio: crd.DefaultRetryRatio, MinPerSecond: crd.DefaultMinRetriesPerSecond,
		TTL: duration(crd.DefaultRetryTTL),
	}
	if p != nil && p.Budget != nil {
		b = *p.Budget
	}
	return b.message()
}

func (b Budget) message() *api.RetryBudget {
	return &api.RetryBudget{
		RetryRatio: b.Ratio, MinRetriesPerSecond: b.MinPerSecond, TtlMs: milliseconds(b.TTL),
	}
}

// milliseconds rounds up: a timeout of less than one must not become none.
func milliseconds(d time.Duration) uint64 {
	return uint64((d + time.Millisecond - 1) / time.Millisecond)
}

// Weights returns the backends' weights for a message, where their sum must fit 32 bits. Shares
// stay the same, but for rounding; none that is above 0 becomes 0.
func Weights(backends []Backend) []uint32 {
	var sum int64
	for _, b := range backends {
		sum += b.Weight
	}
	divisor := int64(1)
	if limit := int64(math.MaxUint32) - int64(len(backends)); sum > limit {
		divisor = (sum + limit - 1) / limit
	}
	out := make([]uint32, 0, len(backends))
	for _, b := range backends {
		out = append(out, uint32((b.Weight+divisor-1)/divisor))
	}
	return out
}
