package explain

import (
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
)

// Told is what destination tells a proxy about a key.
type Told struct {
	destination.Diagnosis
	Messages []*api.Resource // Resources, read
}

// Read reads destination's answer.
func Read(text []byte) (*Told, error) {
	told := &Told{}
	if err := json.Unmarshal(text, &told.Diagnosis); err != nil {
		return nil, fmt.Errorf("read destination's answer: %w", err)
	}
	for _, raw := range told.Resources {
		r := &api.Resource{}
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, r); err != nil {
			return nil, fmt.Errorf(
				"read destination's answer: %w (is it another version? 'meshctl version' tells)",
				err)
		}
		told.Messages = append(told.Messages, r)
	}
	return told, nil
}

// route is the answer to an outbound key; nil: there is none.
func (t *Told) route() *api.Route {
	for _, m := range t.Messages {
		if r := m.GetRoute(); r != nil {
			return r
		}
	}
	return nil
}

func (t *Told) cluster(resource string) *api.Cluster {
	for _, m := range t.Messages {
		if m.GetKind() == api.Kind_KIND_CLUSTER && m.GetName() == resource {
			return m.GetCluster()
		}
	}
	return nil
}

func (t *Told) endpoints(cluster string) []*api.Endpoint {
	for _, m := range t.Messages {
		if m.GetKind() == api.Kind_KIND_ENDPOINTS && m.GetName() == cluster {
			return m.GetEndpoints().GetEndpoints()
		}
	}
	return nil
}

func (t *Told) inbound() *api.Inbound {
	for _, m := range t.Messages {
		if in := m.GetInbound(); in != nil {
			return in
		}
	}
	return nil
}

// decided are the objects that have decided what something is about.
func (t *Told) decided(about string) (out []Object) {
	for _, d := range t.Decisions {
		if d.About == about && d.Kind != "" {
			out = append(out, Object{d.Kind, d.Namespace, d.Name, d.Field})
		}
	}
	return out
}

// users are the objects of a kind that count, by the field for which they do; backend: whose
// endpoints they are about, or "" for those of what is called.
func (t *Told) users(kind, field, backend string) (out []Object) {
	for _, v := range t.Policies {
		if v.Kind != kind || !v.Used || v.Backend != backend ||
			field != "" && !slices.Contains(v.Fields, field) {
			continue
		}
		o := Object{Kind: v.Kind, Namespace: v.Namespace, Name: v.Name}
		if field != "" {
			o.Field = "spec." + field
		}
		out = append(out, o)
	}
	return out
}
