package discover

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// maxEndpoints bounds one cluster: some 25 MB.
const maxEndpoints = 65536

// applyEndpointsLocked takes a snapshot, or a change to the endpoints that are held. A change to
// something else is dropped together with the base.
func (d *Session) applyEndpointsLocked(m *api.Resource) (balance.Change, error) {
	var list, fresh []*api.Endpoint
	switch body := m.Body.(type) {
	case *api.Resource_Endpoints:
		list = inOrder(body.Endpoints.GetEndpoints())
		fresh = list
	case *api.Resource_EndpointsDelta:
		held := d.messages[keyOf(m)]
		if held == nil || held.Version != m.Base {
			d.resyncLocked(keyOf(m), "destination sent a change to endpoints that are not held")
			return balance.Change{}, nil
		}
		list = mergeEndpoints(held.GetEndpoints().GetEndpoints(), body.EndpointsDelta)
		fresh = body.EndpointsDelta.GetChanged()
	default:
		return balance.Change{}, errBody
	}
	if len(list) > maxEndpoints {
		return balance.Change{}, fmt.Errorf("more than %d endpoints", maxEndpoints)
	}
	for _, e := range fresh {
		if err := route.CheckProtocol(e.Protocol); err != nil {
			return balance.Change{}, fmt.Errorf("endpoint %q: %w", e.Id, err)
		}
	}
	d.holdLocked(&api.Resource{Kind: m.Kind, Name: m.Name, Version: m.Version,
		Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}}})
	return d.refreshAllLocked(m.Name), nil
}

func byID(a, b *api.Endpoint) int { return cmp.Compare(a.Id, b.Id) }

// inOrder returns endpoints by their IDs, each once. That is how they are held, so that a change
// finds its place among 10,000 by a few comparisons. Destination sends them so.
func inOrder(list []*api.Endpoint) []*api.Endpoint {
	sorted := true
	for i := 1; i < len(list) && sorted; i++ {
		sorted = list[i-1].Id < list[i].Id
	}
	if sorted {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, byID)
	return slices.CompactFunc(list, func(a, b *api.Endpoint) bool { return a.Id == b.Id })
}

// edit is what becomes of one endpoint; nil: it is removed.
type edit struct {
	id  string
	now *api.Endpoint
}

// mergeEndpoints makes a change to endpoints, which are in order before and after.
func mergeEndpoints(held []*api.Endpoint, delta *api.EndpointsDelta) []*api.Endpoint {
	edits := make([]edit, 0, len(delta.Removed)+len(delta.Changed))
	for _, id := range delta.Removed {
		edits = append(edits, edit{id, nil})
	}
	for _, e := range delta.Changed {
		edits = append(edits, edit{e.Id, e})
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.id, b.id) })
	merged := make([]*api.Endpoint, 0, len(held)+len(delta.Changed))
	for i, e := range edits {
		if i+1 < len(edits) && edits[i+1].id == e.id {
			continue // the last word on it counts
		}
		at, found := slices.BinarySearchFunc(held, e.id, compareID)
		merged = append(merged, held[:at]...)
		if found {
			at++
		}
		if held = held[at:]; e.now != nil {
			merged = append(merged, e.now)
		}
	}
	return append(merged, held...)
}

func compareID(e *api.Endpoint, id string) int { return cmp.Compare(e.Id, id) }
