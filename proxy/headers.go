package proxy

import (
	"errors"
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
		f, err := compileFilter(m)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

func compileFilter(m *api.Filter) (filter, error) {
	if err := strict(m); err != nil {
		return filter{}, err
	}
	switch m := m.Filter.(type) {
	case *api.Filter_RequestHeaders:
		return compileModifier(m.RequestHeaders, false)
	case *api.Filter_ResponseHeaders:
		return compileModifier(m.ResponseHeaders, true)
	}
	return filter{}, errors.New("a filter that this proxy does not know")
}

func compileModifier(m *api.HeaderModifier, response bool) (f filter, err error) {
	if err := strict(m); err != nil {
		return filter{}, err
	}
	f.response = response
	for _, name := range m.GetRemove() {
		name = strings.ToLower(name)
		if err := mayModify(name); err != nil {
			return filter{}, err
		}
		f.remove = append(f.remove, name)
	}
	if f.set, err = compileFields(m.GetSet()); err != nil {
		return filter{}, err
	}
	f.add, err = compileFields(m.GetAdd())
	return f, err
}

func compileFields(list []*api.Header) ([]hpack.HeaderField, error) {
	var out []hpack.HeaderField
	for _, h := range list {
		if err := strict(h); err != nil {
			return nil, err
		}
		name := strings.ToLower(h.Name)
		if err := mayModify(name); err != nil {
			return nil, err
		}
		if !isFieldValue(h.Value) {
			return nil, fmt.Errorf("the value of header %q is not one that HTTP allows", name)
		}
		out = append(out, hpack.HeaderField{Name: name, Value: h.Value})
	}
	return out, nil
}

// mayModify refuses the names that a filter has no business with: what is not a name (pseudo-headers, too), what frames a
// message or belongs to one connection (RFC 9110, 7.6.1; RFC 9113, 8.2.2), what says where a request goes, and our own.
func mayModify(name string) error {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "http2-settings",
		"content-length", "host":
		return fmt.Errorf("header %q frames a message, or says where it goes: no filter may change it", name)
	}
	if !isToken(name) {
		return fmt.Errorf("%q is not the name of a header", name)
	}
	if reserved(name) {
		return fmt.Errorf("header %q is the mesh's own: no filter may change it", name)
	}
	return nil
}

// isToken: RFC 9110, 5.6.2, in lower case.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// isFieldValue: RFC 9110, 5.5. Spaces are inside only.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
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
