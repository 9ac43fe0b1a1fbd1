package proxy

import (
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

// Our own headers. Any other of the prefix, from anyone, is removed, in headers and in trailers. headers_test.go has one
// test a cell.
//
//	header           set by                    believed by                         removed
//	tulle-client-id  inbound, from the         the application                     from whatever arrives, everywhere
//	                 verified certificate
//	tulle-error      a proxy that failed       outbound, from a verified peer      from applications and unmeshed peers; by
//	                                                                               inbound, towards unmeshed callers
//	tulle-proto      outbound, when what       inbound, from a verified peer       by inbound, always
//	                 travels as HTTP/2 is
//	                 for HTTP/1 to restore
const (
	headerPrefix   = "tulle-"
	headerClientID = "tulle-client-id"
	headerError    = "tulle-error"
	headerProto    = "tulle-proto"
	// headerXFCC carries identities in other meshes; an application might believe one that its caller forged.
	headerXFCC = "x-forwarded-client-cert"
)

const protoHTTP1 = "http/1.1"

// reserved reports whether a field is ours to set, so nobody else's to send. Neither is its spelling with underscores: CGI
// and WSGI show an application no difference between the two.
func reserved(name string) bool {
	return disguised(name) || len(name) >= len(headerPrefix) && (spells(name[:len(headerPrefix)], headerPrefix) || spells(name, headerXFCC))
}

// disguised: a field that frames a message to whoever shows names as CGI does, and to nobody before.
func disguised(name string) bool {
	switch len(name) {
	case len("content-length"):
		return name != "content-length" && spells(name, "content-length")
	case len("transfer-encoding"):
		return name != "transfer-encoding" && spells(name, "transfer-encoding")
	}
	return false
}

func spells(name, ours string) bool {
	if len(name) != len(ours) {
		return false
	}
	for i := range len(name) {
		if name[i] != ours[i] && (name[i] != '_' || ours[i] != '-') {
			return false
		}
	}
	return true
}

// keepFields appends to dst the fields that are not reserved.
func keepFields(dst, fields []hpack.HeaderField) []hpack.HeaderField {
	for i := range fields {
		if !reserved(fields[i].Name) {
			dst = append(dst, fields[i])
		}
	}
	return dst
}

// filter changes a head.
type filter struct {
	response bool
	set, add []hpack.HeaderField
	remove   []string
}

func compileFilters(list []*api.Filter) ([]filter, error) {
	var out []filter
	for _, m := range list {
		switch m := m.Filter.(type) {
		case *api.Filter_RequestHeaders:
			out = append(out, compileFilter(m.RequestHeaders, false))
		case *api.Filter_ResponseHeaders:
			out = append(out, compileFilter(m.ResponseHeaders, true))
		default:
			return nil, fmt.Errorf("a filter this proxy does not know: %T", m)
		}
	}
	return out, nil
}

func compileFilter(m *api.HeaderModifier, response bool) filter {
	f := filter{response: response}
	for _, name := range m.GetRemove() {
		f.remove = append(f.remove, strings.ToLower(name))
	}
	for _, h := range m.GetSet() {
		f.set = append(f.set, hpack.HeaderField{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	for _, h := range m.GetAdd() {
		f.add = append(f.add, hpack.HeaderField{Name: strings.ToLower(h.Name), Value: h.Value})
	}
	return f
}

// applyFilters edits fields in place, for the requests or the responses among the filters.
func applyFilters(list []filter, response bool, fields []hpack.HeaderField) []hpack.HeaderField {
	for i := range list {
		if list[i].response == response {
			fields = list[i].apply(fields)
		}
	}
	return fields
}

func (f *filter) apply(fields []hpack.HeaderField) []hpack.HeaderField {
	kept := fields[:0]
	for _, h := range fields {
		if !f.replaces(h.Name) {
			kept = append(kept, h)
		}
	}
	return append(append(kept, f.set...), f.add...)
}

func (f *filter) replaces(name string) bool {
	for _, n := range f.remove {
		if n == name {
			return true
		}
	}
	for i := range f.set {
		if f.set[i].Name == name {
			return true
		}
	}
	return false
}
