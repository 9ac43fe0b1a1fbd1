package destination

import "github.com/tulle-mesh/tulle/destination/api"

// Of a cluster of thousands of endpoints, as many proxies as endpoints would keep a connection
// each. Where the Service's policy says so, each is told of a subset alone. The endpoints are
// divided among subsets, and each caller has one of them: as many callers have each endpoint as
// have its subset ("Site Reliability Engineering", O'Reilly 2016, chapter 20, "Deterministic
// Subsetting"). There callers are numbered; here their names and those of the endpoints are hashed,
// so that replicas agree without a word, and an endpoint that comes or goes changes nothing but its
// own subset. When there are more subsets by one, jump consistent hashing takes no more of each
// than the new one has.

// maxSubsets bounds into how many a cluster is divided.
const maxSubsets = 1024

// subsets are how many a cluster of so many endpoints has, of about so many each.
func subsets(endpoints, size int) int {
	if size == 0 {
		return 1
	}
	return max(1, min(endpoints/size, maxSubsets))
}

// divided are the endpoints of each of n subsets, in the order of all.
func divided(all []*api.Endpoint, n int) [][]*api.Endpoint {
	out := make([][]*api.Endpoint, n)
	if n == 1 {
		out[0] = all
		return out
	}
	for _, e := range all {
		i := jump(nameHash(e.Id), n)
		out[i] = append(out[i], e)
	}
	return out
}

// resourcesOf are the resources of an answer as a caller is sent them.
func (c *caller) resourcesOf(a *answer) []*resource {
	if len(a.subsets) == 0 {
		return a.resources
	}
	mine := a.subsets[jump(nameHash(c.namespace, "/", c.pod), len(a.subsets))]
	return append(a.resources[:len(a.resources):len(a.resources)], mine)
}

// follow makes the way from a subset's last version to this one. Those before come whole: they are
// small.
func (r *resource) follow(last *resource) {
	if r.version == last.version {
		r.deltas = last.deltas
		return
	}
	r.addDeltas([]*resource{last})
}

// nameHash is the same in every process, and even where names hardly differ.
func nameHash(name ...string) uint64 {
	x := uint64(14695981039346656037) // FNV-1a's
	for _, part := range name {
		for i := range len(part) {
			x = (x ^ uint64(part[i])) * 1099511628211
		}
	}
	// MurmurHash3's finalizer, for FNV puts names that differ in their last byte side by side
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// jump is Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014: a number
// from 0 to n-1.
func jump(key uint64, n int) int {
	b, j := int64(-1), int64(0)
	for j < int64(n) {
		b = j
		key = key*2862933555777941757 + 1
		j = int64(float64(b+1) * (float64(int64(1)<<31) / float64(key>>33+1)))
	}
	return int(b)
}
