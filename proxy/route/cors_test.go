package route

import (
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

// fieldsOf reads fields, as "name: value", one a line.
func fieldsOf(text string) (out []hpack.HeaderField) {
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			out = append(out, field(strings.TrimSpace(name), value))
		}
	}
	return out
}

// shortened are fields without the prefix that all of CORS have.
func shortened(fields []hpack.HeaderField) string {
	var out []string
	for _, f := range fields {
		out = append(out, strings.TrimPrefix(f.Name, "access-control-")+": "+f.Value)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// The routes of Gateway API's conformance test HTTPRouteCORS.
var (
	corsMany = &api.CORS{AllowOrigins: []string{"https://www.foo.com", "https://*.bar.com"},
		AllowMethods:     []string{"GET", "OPTIONS"},
		AllowHeaders:     []string{"x-header-1", "x-header-2"},
		ExposeHeaders:    []string{"x-header-3", "x-header-4"},
		AllowCredentials: true, MaxAgeSeconds: 3600}
	corsMethods = &api.CORS{AllowOrigins: []string{"https://www.foo.com"},
		AllowMethods: []string{"*"}, MaxAgeSeconds: 5}
	corsOrigin = &api.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"PUT"},
		MaxAgeSeconds: 5}
	corsCredentials = &api.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"},
		AllowHeaders: []string{"*"}, ExposeHeaders: []string{"*"}, AllowCredentials: true,
		MaxAgeSeconds: 5}
	corsAll = &api.CORS{AllowOrigins: []string{"*"}, AllowMethods: []string{"*"},
		AllowHeaders: []string{"*"}, ExposeHeaders: []string{"*"}, MaxAgeSeconds: 5}
)

func preflight(origin, method, headers string) []hpack.HeaderField {
	req := []hpack.HeaderField{field(":method", "OPTIONS"), field("origin", origin),
		field("access-control-request-method", method)}
	return appendSaid(req, "access-control-request-headers", headers)
}

func from(origin string) []hpack.HeaderField {
	return appendSaid([]hpack.HeaderField{field(":method", "GET")}, "origin", origin)
}

// What a page is told is what the Fetch standard has its browser ask for ("CORS-preflight fetch",
// steps 7 to 18, and "CORS check"), and what Gateway API lets a filter say.
func TestCORS(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    *api.CORS
		req  []hpack.HeaderField
		said string // by the backend
		want string
	}{
		{"a preflight from an origin", corsMany,
			preflight("https://www.foo.com", "GET", "x-header-1, x-header-2"), "",
			"allow-credentials: true; allow-headers: x-header-1, x-header-2; " +
				"allow-methods: GET, OPTIONS; allow-origin: https://www.foo.com; " +
				"expose-headers: x-header-3, x-header-4; max-age: 3600; vary: Origin"},
		{"a preflight from below a name", corsMany,
			preflight("https://xpto.www.bar.com", "PUT", ""), "",
			"allow-credentials: true; allow-headers: x-header-1, x-header-2; " +
				"allow-methods: GET, OPTIONS; allow-origin: https://xpto.www.bar.com; " +
				"expose-headers: x-header-3, x-header-4; max-age: 3600; vary: Origin"},
		{"a preflight from elsewhere", corsMany, preflight("https://foobar.com", "GET", ""), "",
			"vary: Origin"},
		{"a request", corsMany, from("https://www.foo.com"), "",
			"allow-credentials: true; allow-origin: https://www.foo.com; " +
				"expose-headers: x-header-3, x-header-4; vary: Origin"},
		{"a request from elsewhere", corsMany, from("https://foobar.com"), "", "vary: Origin"},
		{"a request of no page", corsMany, from(""), "", "vary: Origin"},
		{"OPTIONS that is no preflight", corsMany, []hpack.HeaderField{field(":method", "OPTIONS"),
			field("origin", "https://www.foo.com")}, "",
			"allow-credentials: true; allow-origin: https://www.foo.com; " +
				"expose-headers: x-header-3, x-header-4; vary: Origin"},
		{"all methods", corsMethods, preflight("https://www.foo.com", "POST", "x-a"), "",
			"allow-methods: POST; allow-origin: https://www.foo.com; max-age: 5; vary: Origin"},
		{"all origins", corsOrigin, preflight("https://foobar.com:12345", "PUT", ""), "",
			"allow-methods: PUT; allow-origin: *; max-age: 5"},
		{"a request from any of all origins", corsOrigin, from("https://foobar.com"), "",
			"allow-origin: *"},
		{"a page of a file", corsOrigin, from("null"), "", "allow-origin: *"},
		{"all that everybody may have", corsOrigin, from(""), "", "allow-origin: *"},
		{"all, with credentials", corsCredentials,
			preflight("https://other.foo.com", "PUT", "x-header-1, x-header-2"), "",
			"allow-credentials: true; allow-headers: x-header-1, x-header-2; " +
				"allow-methods: PUT; allow-origin: https://other.foo.com; max-age: 5; " +
				"vary: Origin"},
		{"all, with credentials, of a request", corsCredentials, from("https://other.foo.com"), "",
			"allow-credentials: true; allow-origin: https://other.foo.com; vary: Origin"},
		{"all, without credentials", corsAll,
			preflight("https://other.foo.com", "PUT", "authorization"), "",
			"allow-headers: authorization; allow-methods: PUT; allow-origin: *; " +
				"expose-headers: *; max-age: 5"},
		{"all headers, of which none is asked for", corsAll,
			preflight("https://other.foo.com", "PUT", ""), "",
			"allow-methods: PUT; allow-origin: *; expose-headers: *; max-age: 5"},
		{"nothing", &api.CORS{}, preflight("https://a", "GET", "x-a"), "", "vary: Origin"},

		{"what the backend says is gone", corsMethods, from("https://www.foo.com"), `
access-control-allow-origin: *
content-type: text/plain
access-control-allow-credentials: true
access-control-expose-headers: x-secret
access-control-max-age: 9`,
			"allow-origin: https://www.foo.com; content-type: text/plain; vary: Origin"},
		{"what the backend says to others is gone", corsMethods, from("https://evil.com"),
			"access-control-allow-origin: https://evil.com", "vary: Origin"},
		{"what varies already", corsMethods, from("https://evil.com"),
			"vary: Accept, origin", "vary: Accept, origin"},
		{"what varies by everything", corsMethods, from("https://evil.com"), "vary: *", "vary: *"},
		{"what varies by something else", corsMethods, from("https://evil.com"),
			"vary: Origins", "vary: Origin; vary: Origins"},
	} {
		c, err := compileCORS(tt.m)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if got := shortened(c.Share(tt.req, fieldsOf(tt.said))); got != tt.want {
			t.Errorf("%s: the answer says\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

// An origin is a scheme, a host and a port (RFC 6454, 4 and 6.2), and "*" is whatever is left of it
// (Gateway API, HTTPCORSFilter).
func TestOrigins(t *testing.T) {
	for filter, pages := range map[string]struct{ in, out string }{
		"https://foo.com": {"https://foo.com https://foo.com:443 https://FOO.com",
			"http://foo.com https://foo.com:80 https://foo.com:8443 https://a.foo.com " +
				"https://foo.com.evil.com https://evilfoo.com null foo.com https:// *"},
		"http://Foo.com:80": {"http://foo.com", "http://foo.com:8080"},
		"https://*.foo.com": {"https://a.foo.com https://a.b.foo.com",
			"https://foo.com https://.foo.com https://afoo.com http://a.foo.com " +
				"https://a.foo.com:8443 https://a.foo.com.evil.com https://*.foo.com"},
		"http://*":       {"http://a http://a.b:80 http://[::1]", "http://a:8080 https://a null"},
		"http://*:8080":  {"http://a:8080 http://[fd00::1]:8080", "http://a https://a:8080"},
		"http://[::1]:1": {"", ""},
		"*":              {"http://a:8080 https://a null", ""},
	} {
		c, err := compileCORS(&api.CORS{AllowOrigins: []string{"http://other", filter}})
		if bad := pages.in+pages.out == ""; bad != (err != nil) {
			t.Errorf("%s: %v", filter, err)
		}
		for _, page := range strings.Fields(pages.in) {
			if !c.Allows(from(page)) {
				t.Errorf("%s has no %s", filter, page)
			}
		}
		for _, page := range strings.Fields(pages.out) {
			if c.Allows(from(page)) {
				t.Errorf("%s has %s", filter, page)
			}
		}
	}
}

func TestPreflights(t *testing.T) {
	for _, tt := range []struct {
		req  []hpack.HeaderField
		want bool
	}{
		{preflight("https://a", "PUT", ""), true},
		{preflight("", "PUT", ""), false},
		{preflight("https://a", "", ""), false},
		{append(from("https://a"), field("access-control-request-method", "PUT")), false},
	} {
		if got := IsPreflight(tt.req); got != tt.want {
			t.Errorf("%v: %v", tt.req, got)
		}
	}
}

func TestCORSThatIsRefused(t *testing.T) {
	for _, m := range []*api.CORS{
		{AllowOrigins: []string{"ftp://a"}}, {AllowMethods: []string{"G T"}},
		{AllowHeaders: []string{"x\r\ny"}}, {ExposeHeaders: []string{""}},
	} {
		if _, err := compileCORS(m); err == nil {
			t.Errorf("%v is taken", m)
		}
	}
	twice := &api.Filter{Filter: &api.Filter_Cors{Cors: &api.CORS{}}}
	if _, err := compileFilters([]*api.Filter{twice, twice}); err == nil {
		t.Error("two filters for CORS are taken")
	}
}
