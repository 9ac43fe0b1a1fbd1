package destination

import (
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
)

const (
	// maxPart bounds one resource, or one part of a set of endpoints, so that it fits a message of
	// its own.
	maxPart = api.MaxResponse - envelope
	// envelope is room for what surrounds the bodies of one message: tags, lengths, a name and two
	// versions.
	envelope = 1 << 10
	// perElement is the tag and the length of an element of a list, at most.
	perElement = 6
)

// split cuts a set of endpoints, or a change of one, into parts that fit a message each. Each part
// says whether another one follows.
func split(r *api.Resource) []*api.Resource {
	if proto.Size(r) <= maxPart {
		return []*api.Resource{r}
	}
	var parts []*api.Resource
	if d := r.GetEndpointsDelta(); d != nil {
		for _, removed := range cut(d.Removed, func(id string) int { return len(id) }) {
			parts = append(parts, deltaPart(r, &api.EndpointsDelta{Removed: removed}))
		}
		for _, changed := range cut(d.Changed, endpointSize) {
			parts = append(parts, deltaPart(r, &api.EndpointsDelta{Changed: changed}))
		}
	}
	for _, list := range cut(r.GetEndpoints().GetEndpoints(), endpointSize) {
		p := partOf(r)
		p.Body = &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}}
		parts = append(parts, p)
	}
	for i, p := range parts {
		p.Part, p.More = uint32(i), i < len(parts)-1
	}
	return parts
}

func partOf(r *api.Resource) *api.Resource {
	return &api.Resource{Kind: r.Kind, Name: r.Name, Version: r.Version, Base: r.Base}
}

func deltaPart(r *api.Resource, d *api.EndpointsDelta) *api.Resource {
	p := partOf(r)
	p.Body = &api.Resource_EndpointsDelta{EndpointsDelta: d}
	return p
}

func endpointSize(ep *api.Endpoint) int { return proto.Size(ep) }

// cut divides a list into runs of at most maxPart bytes each.
func cut[T any](list []T, size func(T) int) [][]T {
	var out [][]T
	first, sum := 0, 0
	for i, item := range list {
		n := size(item) + perElement
		if i > first && sum+n > maxPart {
			out = append(out, list[first:i])
			first, sum = i, 0
		}
		sum += n
	}
	if first < len(list) {
		out = append(out, list[first:])
	}
	return out
}
