package api

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Redacted is in place of what may be a secret.
const Redacted = "REDACTED"

// Redact returns a resource in which nothing is left that may be a secret: what headers and
// parameters of queries are set to, or compared with. It is a copy, or the resource itself where
// there can be no such thing.
func (x *Resource) Redact() *Resource {
	switch x.GetBody().(type) {
	case *Resource_Route, *Resource_Inbound:
	default:
		return x
	}
	out := proto.Clone(x).(*Resource)
	redact(out.ProtoReflect())
	return out
}

func redact(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() == protoreflect.StringKind && !f.IsList():
			if text := v.String(); redacted(f, text) != text {
				m.Set(f, protoreflect.ValueOfString(redacted(f, text)))
			}
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				redact(v.List().Get(i).Message())
			}
		default:
			redact(v.Message())
		}
		return true
	})
}

// redacted is what is left of a field's text.
func redacted(f protoreflect.FieldDescriptor, text string) string {
	switch f.Parent().Name() {
	case "Header", "HeaderMatch", "QueryMatch":
		if f.Name() != "name" {
			return Redacted
		}
	case "HTTPCheck":
		if path, _, ok := strings.Cut(text, "?"); ok {
			return path + "?" + Redacted
		}
	}
	return text
}
