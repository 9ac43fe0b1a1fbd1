package policy

import "slices"

// ByDefault gives the rules of a policy, and what no rule matches, what is said of the service's
// use and they do not say themselves: how long a request and a try of it may take, and a hedge of
// what may be retried. It returns the origins of what it has used.
func (p *Policy) ByDefault(u *Use) (out *Policy, used []Origin) {
	if u == nil || u.timing == nil && u.hedge == nil || p.Carried() != "" {
		return p, nil
	}
	out = &Policy{}
	if p != nil {
		*out = *p
	}
	out.Rules = slices.Clone(out.Rules)
	if n := len(out.Rules); u.timing != nil && (n == 0 || out.Rules[n-1].Match != nil) {
		out.Rules = append(out.Rules, OriginRule{Origin: u.Timer})
	}
	timed, hedged := false, false
	for i := range out.Rules {
		r := &out.Rules[i]
		timed = r.time(u.timing) || timed
		hedged = u.hedge != nil && r.hedge(u) || hedged
	}
	if timed {
		used = append(used, u.Timer)
	}
	if hedged && !slices.Contains(used, u.Hedger) {
		used = append(used, u.Hedger)
	}
	return out, used
}

// time gives a rule the timeouts that it does not say, unless it answers by itself.
func (r *OriginRule) time(t *Timing) (used bool) {
	if t == nil || r.isUnmatched() {
		return false
	}
	if !r.OwnTimeout && t.Request > 0 {
		r.Timeout, used = t.Request, true
	}
	if !r.OwnTry && t.Try > 0 {
		r.Try, used = t.Try, true
	}
	return used
}

// hedge gives a rule whose requests may be sent again a hedge, if it has none.
func (r *OriginRule) hedge(u *Use) (used bool) {
	if r.Retry == nil || r.Hedge != nil {
		return false
	}
	r.Hedge = u.hedge
	return true
}
