package route

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// CORS says which pages of other origins may have the answers to requests (Fetch standard, "CORS
// protocol"). The words of the header's fields are made once.
type CORS struct {
	all         bool // every origin
	origins     []origin
	methods     names
	headers     names
	expose      string
	maxAge      string // seconds
	credentials bool
}

// names are those that a page may use.
type names struct {
	text string
	all  bool
}

// of is what a page is told that asks for some. All are those that it asks for: "*" would not stand
// for Authorization, nor for anything beside credentials (Fetch, "HTTP new-header syntax").
func (n names) of(asked string) string {
	if n.all {
		return asked
	}
	return n.text
}

func compileCORS(m *api.CORS) (*CORS, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	c := &CORS{
		credentials: m.GetAllowCredentials(),
		maxAge:      strconv.FormatUint(uint64(m.GetMaxAgeSeconds()), 10),
	}
	for _, text := range m.GetAllowOrigins() {
		if err := api.CheckOrigin(text); err != nil {
			return nil, err
		}
		c.all = c.all || text == "*"
		c.origins = append(c.origins, parseOrigin(text))
	}
	var expose names
	for _, one := range []struct {
		list []string
		into *names
	}{
		{m.GetAllowMethods(), &c.methods}, {m.GetAllowHeaders(), &c.headers},
		{m.GetExposeHeaders(), &expose},
	} {
		var err error
		if *one.into, err = compileNames(one.list); err != nil {
			return nil, err
		}
	}
	if c.expose = expose.text; expose.all && !c.credentials {
		c.expose = "*"
	}
	return c, nil
}

func compileNames(list []string) (n names, err error) {
	var said []string
	for _, name := range list {
		switch {
		case name == "*":
			n.all = true
		case header.IsToken(strings.ToLower(name)):
			said = append(said, name)
		default:
			return n, fmt.Errorf("CORS: %q is no method, nor the name of a header", name)
		}
	}
	n.text = strings.Join(said, ", ")
	return n, nil
}

// origin is where pages are from. Origins are compared as browsers write them: in lower case, and
// without the scheme's own port.
type origin struct {
	scheme, host, port string
	below              bool // of whatever name ends in host
}

// parseOrigin reads what a request says, or what a filter does, where a host may begin with "*".
func parseOrigin(text string) origin {
	scheme, rest, _ := strings.Cut(text, "://")
	host, port := splitPort(strings.ToLower(rest))
	o := origin{scheme: scheme, host: host, port: cmp.Or(port, wellKnownPort(scheme))}
	o.host, o.below = strings.CutPrefix(o.host, "*")
	return o
}

// has reports whether a page's origin is among those that o is. A name is above itself: "*.a" has
// "b.a" and "c.b.a", but not "a".
func (o *origin) has(page *origin) bool {
	if o.scheme != page.scheme || o.port != page.port || page.below {
		return false
	}
	if o.below {
		return len(page.host) > len(o.host) && strings.HasSuffix(page.host, o.host)
	}
	return o.host == page.host
}

// Allows reports whether the page that a request is of may have the answer.
func (c *CORS) Allows(req []hpack.HeaderField) bool {
	from := header.Value(req, "origin")
	if from == "" || c.all {
		return from != ""
	}
	page := parseOrigin(from)
	has := func(o origin) bool { return o.has(&page) }
	return slices.ContainsFunc(c.origins, has)
}

const askedMethod, askedHeaders = "access-control-request-method", "access-control-request-headers"

// IsPreflight reports whether a request only asks what another one may do (Fetch, "CORS-preflight
// request").
func IsPreflight(req []hpack.HeaderField) bool {
	return header.Value(req, ":method") == "OPTIONS" && header.Value(req, "origin") != "" &&
		header.Value(req, askedMethod) != ""
}

// static reports whether everybody is told the same.
func (c *CORS) static() bool { return c.all && !c.credentials }

// Share edits the fields of the answer to a request in place. They say whether the page that the
// request is of may have it and, if it was a preflight request, what the page may ask for; what
// they said of that before is gone.
//
// What is the same for all pages is said to those that are of no other origin too, and all else
// varies by the origin: a cache may give one caller's answer to another (Fetch, "CORS protocol and
// HTTP caches").
func (c *CORS) Share(req, fields []hpack.HeaderField) []hpack.HeaderField {
	fields = slices.DeleteFunc(fields, isSharing)
	allowed := c.Allows(req)
	switch {
	case c.static():
		fields = append(fields, field("access-control-allow-origin", "*"))
	case allowed:
		fields = append(varying(fields),
			field("access-control-allow-origin", header.Value(req, "origin")))
	default:
		fields = varying(fields)
	}
	if !allowed && !c.static() {
		return fields
	}
	if c.credentials {
		fields = append(fields, field("access-control-allow-credentials", "true"))
	}
	fields = appendSaid(fields, "access-control-expose-headers", c.expose)
	if IsPreflight(req) {
		fields = c.permit(req, fields)
	}
	return fields
}

// permit appends what a preflight request asks for.
func (c *CORS) permit(req, fields []hpack.HeaderField) []hpack.HeaderField {
	fields = appendSaid(fields, "access-control-allow-methods",
		c.methods.of(header.Value(req, askedMethod)))
	fields = appendSaid(fields, "access-control-allow-headers",
		c.headers.of(header.Value(req, askedHeaders)))
	return append(fields, field("access-control-max-age", c.maxAge))
}

func isSharing(f hpack.HeaderField) bool {
	switch f.Name {
	case "access-control-allow-origin", "access-control-allow-credentials",
		"access-control-expose-headers", "access-control-allow-methods",
		"access-control-allow-headers", "access-control-max-age":
		return true
	}
	return false
}

// varying has the fields say that they depend on the origin (RFC 9110, 12.5.5).
func varying(fields []hpack.HeaderField) []hpack.HeaderField {
	for _, f := range fields {
		if f.Name != "vary" {
			continue
		}
		for one := range strings.SplitSeq(f.Value, ",") {
			if one = strings.TrimSpace(one); one == "*" || strings.EqualFold(one, "origin") {
				return fields
			}
		}
	}
	return append(fields, field("vary", "Origin"))
}

func field(name, value string) hpack.HeaderField {
	return hpack.HeaderField{Name: name, Value: value}
}

func appendSaid(fields []hpack.HeaderField, name, value string) []hpack.HeaderField {
	if value == "" {
		return fields
	}
	return append(fields, field(name, value))
}
