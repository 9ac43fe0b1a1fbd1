package route

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

func compileQuery(m *api.QueryMatch) (matcher, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	var test func(string) bool
	switch v := m.Value.(type) {
	case *api.QueryMatch_Exact:
		test = func(s string) bool { return s == v.Exact }
	case *api.QueryMatch_Regex:
		re, err := compileRegex(v.Regex)
		if err != nil {
			return nil, err
		}
		test = re
	default:
		return nil, fmt.Errorf("a match on the query's value %q that %w", m.Name, errNotKnown)
	}
	return func(req []hpack.HeaderField) bool {
		value, found := Parameter(header.Value(req, ":path"), m.Name)
		return found && test(value)
	}, nil
}

// Parameter finds the first parameter of a name in a target's query.
func Parameter(target, name string) (value string, found bool) {
	_, query, _ := strings.Cut(target, "?")
	for part := range strings.SplitSeq(query, "&") {
		n, v, _ := strings.Cut(part, "=")
		if decoded(n) == name {
			return decoded(v), true
		}
	}
	return "", false
}

// decoded is a name or a value as whoever wrote the query means it. What is escaped wrongly is
// taken as it stands.
func decoded(s string) string {
	if !strings.ContainsAny(s, "%+") {
		return s
	}
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}
