package policy

import (
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// FromFaultInjection makes the message that a fault is to callers in a namespace, or nil where it
// means none of them. When it is over, proxies see for themselves.
func FromFaultInjection(
	f *crd.FaultInjection, callerNamespace, trustDomain string,
) (*api.Fault, error) {
	meant, callers := callersOf(f.Spec.From, callerNamespace, trustDomain)
	if !meant {
		return nil, nil
	}
	out := &api.Fault{Callers: callers, UntilMs: uint64(max(f.Spec.Until.UnixMilli(), 0))}
	if f.Spec.Match != nil {
		match, err := readHTTPMatch(f.Spec.Match)
		if err != nil {
			return nil, fmt.Errorf("match: %w", err)
		}
		out.Match = allOf(match.all)
	}
	if d := f.Spec.Delay; d != nil {
		out.DelayMs, out.DelayShare = milliseconds(duration(d.Duration)), crd.Share(d.Percent)
	}
	if a := f.Spec.Abort; a != nil {
		out.Status, out.AbortShare = uint32(a.Status), crd.Share(a.Percent)
	}
	return out, nil
}

// callersOf says whether any caller in a namespace is meant, and which, if not all of them.
func callersOf(
	from []crd.FaultCaller, callerNamespace, trustDomain string,
) (meant bool, ids []string) {
	if len(from) == 0 {
		return true, nil
	}
	for _, c := range from {
		switch {
		case c.Namespace != callerNamespace:
		case c.ServiceAccount == "":
			return true, nil
		default:
			ids = append(ids, "spiffe://"+trustDomain+"/ns/"+c.Namespace+"/sa/"+c.ServiceAccount)
		}
	}
	return len(ids) > 0, ids
}

// Harm is a fault, and the object that it is of.
type Harm struct {
	Fault  *api.Fault
	Origin Origin
}

// Harm adds faults to a rule. An object that is there already is not there twice.
func (r *Rule) Harm(all ...Harm) {
	r.Faults = slices.Clip(r.Faults)
	for _, h := range all {
		is := func(has Harm) bool { return has.Origin == h.Origin }
		if !slices.ContainsFunc(r.Faults, is) {
			r.Faults = append(r.Faults, h)
		}
	}
}

// Harm adds faults to every rule of a policy, and to what no rule matches: to all requests that go
// by it.
func (p *Policy) Harm(all []Harm) *Policy {
	if len(all) == 0 {
		return p
	}
	out := &Policy{}
	if p != nil {
		*out = *p
	}
	out.Rules = slices.Clone(out.Rules)
	for i := range out.Rules {
		out.Rules[i].Harm(all...)
	}
	if n := len(out.Rules); n == 0 || out.Rules[n-1].Match != nil {
		out.Rules = append(out.Rules, OriginRule{Rule{Faults: all}, all[len(all)-1].Origin})
	}
	return out
}
