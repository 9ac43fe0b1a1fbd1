package policy

import (
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// RateLimits makes what the proxy of one pod of a Service is told of a policy, which is about the
// requests within a condition; nil: about all. Replicas says among how many pods a shared limit is
// divided; it is asked only where there is one.
//
// A share is rounded down, so that all together are not more than what was written, unless that is
// less than a request for each.
func RateLimits(
	p *crd.RateLimitPolicy, within *api.Match, replicas func() int,
) (out []*api.RateLimit, err error) {
	for i := range p.Spec.Limits {
		in := &p.Spec.Limits[i]
		share := func(all int64) uint64 { return uint64(all) }
		if in.Mode == crd.RateShared {
			n := int64(max(replicas(), 1))
			share = func(all int64) uint64 { return uint64(max(all/n, 1)) }
		}
		m := &api.RateLimit{
			Origin: &api.Origin{Group: crd.Group, Kind: crd.RateLimitPolicyKind,
				Namespace: p.Namespace, Name: p.Name, Rule: in.Name},
			Keys: rateKeys(in.By), Requests: share(in.Requests),
			WindowMs: milliseconds(in.WindowLength()), DryRun: p.Spec.DryRun,
		}
		if in.Burst > 0 {
			m.Burst = share(in.Burst)
		}
		var match httpMatch
		if in.Match != nil {
			if match, err = readHTTPMatch(in.Match); err != nil {
				return nil, fmt.Errorf("limit %s: %w", in.Name, err)
			}
		}
		if within != nil {
			match.all = append(match.all, within)
		}
		m.Match = allOf(match.all)
		out = append(out, m)
	}
	return out, nil
}

func rateKeys(in []crd.RateKey) (out []*api.RateKey) {
	for _, k := range in {
		m := &api.RateKey{}
		switch {
		case k.Header != "":
			m.Key = &api.RateKey_Header{Header: headerField(k.Header)}
		case k.Path != nil:
			m.Key = &api.RateKey_Path{Path: &api.RequestPath{}}
		default:
			m.Key = &api.RateKey_Identity{Identity: &api.CallerIdentity{}}
		}
		out = append(out, m)
	}
	return out
}

// headerField is a header as a request of HTTP/2 has it, in which proxies think.
func headerField(name string) string {
	if name = strings.ToLower(name); name == "host" {
		return ":authority"
	}
	return name
}
