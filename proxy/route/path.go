package route

import (
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
)

// pathModifier changes the path of a request's target; nil: it stays.
type pathModifier struct {
	full   string // instead of the path; empty: a prefix is replaced
	prefix string // without a slash at its end
	by     string // the same
}

func compilePathModifier(m *api.PathModifier) (*pathModifier, error) {
	if m == nil {
		return nil, nil
	}
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	switch m := m.Modifier.(type) {
	case *api.PathModifier_Full:
		return &pathModifier{full: m.Full}, api.CheckPath(m.Full)
	case *api.PathModifier_Prefix:
		return compilePrefixModifier(m.Prefix)
	}
	return nil, fmt.Errorf("a path modifier that %w", errNotKnown)
}

func compilePrefixModifier(m *api.PrefixModifier) (*pathModifier, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	if err := api.CheckPath(m.GetMatched()); err != nil {
		return nil, fmt.Errorf("the prefix that is replaced: %w", err)
	}
	if m.Replacement != "" {
		if err := api.CheckPath(m.Replacement); err != nil {
			return nil, fmt.Errorf("what a prefix is replaced by: %w", err)
		}
	}
	return &pathModifier{
		prefix: strings.TrimSuffix(m.Matched, "/"), // as compilePathValue has it
		by:     strings.TrimRight(m.Replacement, "/"),
	}, nil
}

// apply returns a target as it becomes. What follows the path is kept. A target without a path, as
// that of OPTIONS may be, stays.
func (m *pathModifier) apply(target string) string {
	if m == nil || !strings.HasPrefix(target, "/") {
		return target
	}
	path, query := target, ""
	if i := strings.IndexByte(target, '?'); i >= 0 {
		path, query = target[:i], target[i:]
	}
	if m.full != "" {
		return m.full + query
	}
	rest, found := strings.CutPrefix(path, m.prefix)
	if !found || rest != "" && rest[0] != '/' {
		return target
	}
	if m.by == "" {
		// What two slashes begin may be taken for a host (RFC 3986 §4.2).
		return "/" + strings.TrimLeft(rest, "/") + query
	}
	return m.by + rest + query
}
