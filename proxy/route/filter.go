package route

import (
	"errors"
	"fmt"
	"slices"
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

// Treatment is what the filters of a rule or of a backend make of a request.
type Treatment struct {
	Filters  []Filter
	Redirect *Redirect // nil: a backend is asked
	CORS     *CORS     // nil: the backend says which pages may have its answers
	Mirrors  []*Mirror
}

func compileFilters(list []*api.Filter) (t Treatment, err error) {
	for _, m := range list {
		if err := api.Understood(m); err != nil {
			return Treatment{}, err
		}
		if err := t.add(m); err != nil {
			return Treatment{}, err
		}
	}
	rewrites := func(f Filter) bool { return f.rewrite != nil }
	if t.Redirect != nil && slices.ContainsFunc(t.Filters, rewrites) {
		return Treatment{}, errors.New("a redirect and a rewrite of the same request")
	}
	return t, nil
}

func (t *Treatment) add(m *api.Filter) (err error) {
	switch m := m.Filter.(type) {
	case *api.Filter_Redirect:
		if t.Redirect != nil {
			return errors.New("more than one redirect")
		}
		t.Redirect, err = compileRedirect(m.Redirect)
		return err
	case *api.Filter_Cors:
		if t.CORS != nil {
			return errors.New("more than one filter for CORS")
		}
		t.CORS, err = compileCORS(m.Cors)
		return err
	case *api.Filter_Mirror:
		copies, err := compileMirror(m.Mirror)
		t.Mirrors = append(t.Mirrors, copies)
		return err
	}
	f, err := compileFilter(m)
	t.Filters = append(t.Filters, f)
	return err
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
