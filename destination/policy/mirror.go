package policy

import (
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
)

// addMirror adds a mirror, unless no requests go there, or it is no Service: what is wrong with a
// mirror's backend is told, and is nobody else's fault.
func (r *reader) addMirror(t *treatment, in *gatewayv1.HTTPRequestMirrorFilter) error {
	if in == nil {
		return unsupportedf("a mirror of nothing")
	}
	m, err := readShare(in)
	if err != nil {
		return err
	}
	m.Backend = r.backend(&in.BackendRef)
	if m.Answer == 0 && m.Numerator > 0 {
		t.mirrors = append(t.mirrors, m)
	}
	return nil
}

// readShare reads which of the requests are copied: without a word, all of them.
func readShare(in *gatewayv1.HTTPRequestMirrorFilter) (Mirror, error) {
	numerator, denominator := int32(100), int32(100)
	switch {
	case in.Percent != nil && in.Fraction != nil:
		return Mirror{}, unsupportedf("a mirror of a percent and of a fraction")
	case in.Percent != nil:
		numerator = *in.Percent
	case in.Fraction != nil:
		numerator = in.Fraction.Numerator
		if in.Fraction.Denominator != nil {
			denominator = *in.Fraction.Denominator
		}
	}
	if numerator < 0 || denominator < 1 || numerator > denominator {
		return Mirror{}, unsupportedf("a mirror of %d of %d requests", numerator, denominator)
	}
	return Mirror{Numerator: uint32(numerator), Denominator: uint32(denominator)}, nil
}

// withMirrors returns filters and those that mirrors are on the wire. Find looks up their clusters.
// One that has none is left out.
func withMirrors(
	filters []*api.Filter, mirrors []Mirror, find func([]Backend) []*api.Backend,
) []*api.Filter {
	out := filters[:len(filters):len(filters)]
	for _, m := range mirrors {
		if b := find([]Backend{m.Backend})[0]; b.Answer == 0 {
			out = append(out, &api.Filter{Filter: &api.Filter_Mirror{Mirror: &api.Mirror{
				Cluster: b.Cluster, Numerator: m.Numerator, Denominator: m.Denominator,
			}}})
		}
	}
	return out
}
