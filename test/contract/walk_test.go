package contract

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tulle-mesh/tulle/destination/api"
)

// place is where in a message something can be that its receiver does not know: an enum, a oneof,
// or a message in which no field may be skipped.
type place struct {
	root protoreflect.MessageDescriptor
	path []protoreflect.FieldDescriptor // from the root to the message that has it
	enum protoreflect.FieldDescriptor   // one of the three is set
	one  protoreflect.OneofDescriptor
	all  protoreflect.MessageDescriptor
}

func (p place) String() string {
	var names []string
	for _, f := range p.path {
		names = append(names, string(f.Name()))
	}
	return strings.Join(append(names, p.name()), ".")
}

// holder is the message that has the place.
func (p place) holder() string {
	if len(p.path) == 0 {
		return string(p.root.Name())
	}
	return string(p.path[len(p.path)-1].Message().Name())
}

// name is the field's.
func (p place) name() string {
	switch {
	case p.enum != nil:
		return string(p.enum.Name())
	case p.one != nil:
		return string(p.one.Name())
	}
	return string(p.all.Name())
}

// under reports whether the place is in a field of that name, however deep.
func (p place) under(name string) bool {
	return slices.ContainsFunc(p.path, func(f protoreflect.FieldDescriptor) bool {
		return string(f.Name()) == name
	})
}

// places lists every enum and every oneof that a message can hold, and every message in it that is
// strict. A message within itself is not followed again.
func places(m proto.Message, strict ...protoreflect.FullName) []place {
	w := walker{root: m.ProtoReflect().Descriptor(), strict: strict}
	w.message(w.root, nil, nil)
	return w.found
}

type walker struct {
	root   protoreflect.MessageDescriptor
	strict []protoreflect.FullName
	found  []place
}

func (w *walker) message(
	m protoreflect.MessageDescriptor, path []protoreflect.FieldDescriptor,
	outer []protoreflect.FullName,
) {
	if slices.Contains(outer, m.FullName()) {
		return
	}
	outer = append(slices.Clip(outer), m.FullName())
	strict := func(n protoreflect.FullName) bool { return slices.Contains(w.strict, n) }
	if slices.ContainsFunc(outer, strict) {
		w.found = append(w.found, place{root: w.root, path: path, all: m})
	}
	for i := range m.Oneofs().Len() {
		w.found = append(w.found, place{root: w.root, path: path, one: m.Oneofs().Get(i)})
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Enum() != nil {
			w.found = append(w.found, place{root: w.root, path: path, enum: f})
		}
		if f.Message() != nil {
			w.message(f.Message(), append(slices.Clip(path), f), outer)
		}
	}
}

// fault is a way in which a place holds what its receiver does not know.
type fault struct {
	name  string
	plant func(protoreflect.Message) // into the message that has the place
}

// faults of a place. The number 257 is a valid one for whoever looks at its last byte alone.
func (p place) faults() []fault {
	switch {
	case p.enum != nil:
		last := protoreflect.EnumNumber(0)
		for i := range p.enum.Enum().Values().Len() {
			last = max(last, p.enum.Enum().Values().Get(i).Number())
		}
		return []fault{p.number(0), p.number(last + 1), p.number(257)}
	case p.one != nil:
		return []fault{
			{"no member", p.clear},
			{"an unknown member", func(m protoreflect.Message) { p.clear(m); addUnknown(m) }},
		}
	}
	return []fault{{"an unknown field", addUnknown}}
}

func (p place) number(n protoreflect.EnumNumber) fault {
	return fault{fmt.Sprintf("number %d", n), func(m protoreflect.Message) {
		m.Set(p.enum, protoreflect.ValueOfEnum(n))
	}}
}

func (p place) clear(m protoreflect.Message) {
	if f := m.WhichOneof(p.one); f != nil {
		m.Clear(f)
	}
}

// unknownNumber is a field of no message of ours.
const unknownNumber = 1000

func addUnknown(m protoreflect.Message) {
	b := protowire.AppendTag(m.GetUnknown(), unknownNumber, protowire.BytesType)
	m.SetUnknown(protowire.AppendBytes(b, []byte("from a later version")))
}

// known fills the place with something that its receiver knows: the first of an enum's values, or
// what a oneof and all in it can hold.
func (p place) known(m protoreflect.Message) {
	if p.enum != nil {
		m.Set(p.enum, protoreflect.ValueOfEnum(p.enum.Enum().Values().Get(1).Number()))
		return
	}
	complete(m)
}

// complete gives a message what it cannot be without: a member of each oneof, and its own.
func complete(m protoreflect.Message) {
	for i := range m.Descriptor().Oneofs().Len() {
		one := m.Descriptor().Oneofs().Get(i)
		if m.WhichOneof(one) == nil {
			member(m, one)
		}
	}
	least(m)
}

// least gives a message those of its own fields that must not be empty: a header's name, a hedge's
// time, and so on.
func least(m protoreflect.Message) {
	switch m := m.Interface().(type) {
	case *api.Deviation:
		m.Factor, m.IntervalMs, m.MinEndpoints, m.MinRequests = 1.9, 10_000, 5, 100
	case *api.HTTPRule:
		m.Retry = &api.Retry{} // a hedge cannot be without
	case *api.ConsistentHash:
		if len(m.Keys) == 0 {
			m.Keys = []*api.HashKey{{Key: &api.HashKey_Source{Source: &api.Source{}}}}
		}
		if m.Table == nil {
			m.Table = &api.ConsistentHash_Maglev{Maglev: &api.Maglev{}}
		}
	case *api.HashKey:
		if key, ok := m.Key.(*api.HashKey_Header); ok {
			key.Header = "x-any"
		}
	case *api.Header:
		m.Name = "x-any"
	case *api.Hedge:
		m.AfterMs = uint64(api.MinHedge.Milliseconds())
	case *api.HealthCheck:
		m.IntervalMs, m.TimeoutMs, m.HealthyThreshold, m.UnhealthyThreshold = 1000, 1000, 1, 1
	case *api.HTTPCheck:
		m.Path = "/"
	case *api.Locality:
		m.Zone = "any"
	case *api.LocalityPreference:
		m.Prefer = api.Nearness_NEARNESS_ZONE
	case *api.RateKey:
		if named, ok := m.Key.(*api.RateKey_Header); ok {
			named.Header = "x-any"
		}
	case *api.RateLimit:
		m.Requests, m.WindowMs = 1, uint64(api.MinRateWindow.Milliseconds())
	case *api.Redirect:
		m.Status = 302
	case *api.Mirror:
		m.Cluster, m.Numerator, m.Denominator = "mirror", 1, 1
	case *api.PathModifier:
		if full, ok := m.Modifier.(*api.PathModifier_Full); ok {
			full.Full = "/"
		}
	case *api.PrefixModifier:
		m.Matched = "/"
	case *api.StatusRange:
		m.Min, m.Max = 200, 299
	case *api.SuccessRate:
		m.ThresholdPercent, m.WindowMs, m.MinRequests = 80, 10_000, 5
	}
}

// member sets the first member of a oneof that holds no message, else the first.
func member(m protoreflect.Message, one protoreflect.OneofDescriptor) {
	for i := range one.Fields().Len() {
		if f := one.Fields().Get(i); f.Message() == nil {
			m.Set(f, f.Default())
			return
		}
	}
	complete(m.Mutable(one.Fields().Get(0)).Message())
}

// in returns a copy of a good message, changed at the place: what is on the way there is made.
func (p place) in(good proto.Message, change func(protoreflect.Message)) proto.Message {
	whole := proto.Clone(good)
	m := whole.ProtoReflect()
	for _, f := range p.path {
		m = step(m, f)
	}
	change(m)
	return whole
}

func step(m protoreflect.Message, f protoreflect.FieldDescriptor) protoreflect.Message {
	least(m)
	if !f.IsList() {
		return m.Mutable(f).Message()
	}
	list := m.Mutable(f).List()
	if list.Len() == 0 {
		list.AppendMutable()
	}
	return list.Get(0).Message()
}
