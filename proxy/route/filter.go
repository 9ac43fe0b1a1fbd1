package route

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// Filter changes a head.
type Filter struct {
	response bool
	set, add []hpack.HeaderField
	remove   []string
	rewrite  *rewrite // nil: of the header's fields
}

// compileFilters returns the filters that change heads, and the one that is an answer; nil: there
// is none.
func compileFilters(list []*api.Filter) (edits []Filter, away *Redirect, err error) {
	rewritten := false
	for _, m := range list {
		if err := api.Understood(m); err != nil {
			return nil, nil, err
		}
		if to, ok := m.Filter.(*api.Filter_Redirect); ok {
			if away != nil {
				return nil, nil, errors.New("more than one redirect")
			}
			if away, err = compileRedirect(to.Redirect); err != nil {
				return nil, nil, err
			}
			continue
		}
		f, err := compileFilter(m)
		if err != nil {
			return nil, nil, err
		}
		rewritten = rewritten || f.rewrite != nil
		edits = append(edits, f)
	}
	if away != nil && rewritten {
		return nil, nil, errors.New("a redirect and a rewrite of the same request")
	}
	return edits, away, nil
}

func compileFilter(m *api.Filter) (Filter, error) {
	switch m := m.Filter.(type) {
	case *api.Filter_RequestHeaders:
		return compileModifier(m.RequestHeaders, false)
	case *api.Filter_ResponseHeaders:
		return compileModifier(m.ResponseHeaders, true)
	case *api.Filter_Rewrite:
		w, err := compileRewrite(m.Rewrite)
		return Filter{rewrite: w}, err
	}
	return Filter{}, fmt.Errorf("a filter that %w", errNotKnown)
}

func compileModifier(m *api.HeaderModifier, response bool) (f Filter, err error) {
	if err := api.Understood(m); err != nil {
		return Filter{}, err
	}
	f.response = response
	for _, name := range m.GetRemove() {
		name = strings.ToLower(name)
		if err := mayModify(name); err != nil {
			return Filter{}, err
		}
		f.remove = append(f.remove, name)
	}
	if f.set, err = compileFields(m.GetSet()); err != nil {
		return Filter{}, err
	}
	f.add, err = compileFields(m.GetAdd())
	return f, err
}

func compileFields(list []*api.Header) ([]hpack.HeaderField, error) {
	var out []hpack.HeaderField
	for _, h := range list {
		if err := api.Understood(h); err != nil {
			return nil, err
		}
		name := strings.ToLower(h.Name)
		if err := mayModify(name); err != nil {
			return nil, err
		}
		if !header.IsValue(h.Value) {
			return nil, fmt.Errorf("the value of header %q is not one that HTTP allows", name)
		}
		out = append(out, hpack.HeaderField{Name: name, Value: h.Value})
	}
	return out, nil
}

// mayModify refuses the names that a filter has no business with: what is not a name
// (pseudo-headers, too), what frames a message or belongs to one connection (RFC 9110, 7.6.1; RFC
// 9113, 8.2.2), what says where a request goes, and our own.
func mayModify(name string) error {
	switch name {
	case "connection",
		"proxy-connection",
		"keep-alive",
		"te",
		"trailer",
		"transfer-encoding",
		"upgrade",
		"http2-settings",
		"content-length",
		"host":
		return fmt.Errorf(
			"header %q frames a message, or says where it goes: no filter may change it", name)
	}
	if !header.IsToken(name) {
		return fmt.Errorf("%q is not the name of a header", name)
	}
	if header.Reserved(name) {
		return fmt.Errorf("header %q is the mesh's own: no filter may change it", name)
	}
	return nil
}

// Edit edits fields in place, for the requests or the responses among the filters.
func Edit(list []Filter, response bool, fields []hpack.HeaderField) []hpack.HeaderField {
	for i := range list {
		if list[i].response == response {
			fields = list[i].apply(fields)
		}
	}
	return fields
}

func (f *Filter) apply(fields []hpack.HeaderField) []hpack.HeaderField {
	if f.rewrite != nil {
		f.rewrite.apply(fields)
		return fields
	}
	kept := fields[:0]
	for _, h := range fields {
		if !f.replaces(h.Name) {
			kept = append(kept, h)
		}
	}
	return append(append(kept, f.set...), f.add...)
}

func (f *Filter) replaces(name string) bool {
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
