package route

import (
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

func redirect(m *api.Redirect) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Redirect{Redirect: m}}
}

func rewriting(m *api.Rewrite) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Rewrite{Rewrite: m}}
}

func asked(authority, path string) []hpack.HeaderField {
	return []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: authority}, {Name: ":path", Value: path}}
}

// What a redirect does not say is as the caller has it, but for the port: with a scheme it is that
// scheme's, and else the one that was dialed.
func TestLocations(t *testing.T) {
	const dialed80 = "echo.shop.svc.cluster.local:80"
	const dialed8080 = "echo.shop.svc.cluster.local:8080"
	for _, tt := range []struct {
		name   string
		m      *api.Redirect
		dialed string
		req    []hpack.HeaderField
		want   string
	}{
		{"nothing said", &api.Redirect{}, dialed80, asked("echo", "/x"), "http://echo/x"},
		{"dialed on 8080", &api.Redirect{}, dialed8080, asked("echo:8080", "/x"),
			"http://echo:8080/x"},
		{"the port that is dialed, not said", &api.Redirect{}, dialed8080, asked("echo", "/"),
			"http://echo:8080/"},
		{"the same, the other way", &api.Redirect{}, dialed80, asked("echo:8080", "/"),
			"http://echo/"},
		{"a bare address", &api.Redirect{}, "", asked("10.1.2.3:8080", "/"),
			"http://10.1.2.3:8080/"},
		{"host", &api.Redirect{Host: "example.org"}, dialed80, asked("echo", "/x?y=z"),
			"http://example.org/x?y=z"},
		{"host, dialed on 8080", &api.Redirect{Host: "example.org"}, dialed8080,
			asked("echo:8080", "/x"), "http://example.org:8080/x"},
		{"host of IPv6", &api.Redirect{Host: "[2001:db8::1]"}, dialed8080, asked("echo", "/"),
			"http://[2001:db8::1]:8080/"},
		{"asked of IPv6", &api.Redirect{Scheme: "https"}, dialed8080, asked("[fd00::1]:8080", "/"),
			"https://[fd00::1]/"},
		{"asked of IPv6 without a port", &api.Redirect{}, dialed8080, asked("[fd00::1]", "/"),
			"http://[fd00::1]:8080/"},
		{"scheme", &api.Redirect{Scheme: "https"}, dialed80, asked("echo", "/"), "https://echo/"},
		{"scheme, dialed on 8080", &api.Redirect{Scheme: "https"}, dialed8080,
			asked("echo:8080", "/x"), "https://echo/x"},
		{"the same scheme, dialed on 8080", &api.Redirect{Scheme: "http"}, dialed8080,
			asked("echo:8080", "/x"), "http://echo/x"},
		{"scheme and host, dialed on 8080", &api.Redirect{Scheme: "https", Host: "example.org"},
			dialed8080, asked("echo:8080", "/x"), "https://example.org/x"},
		{"port", &api.Redirect{Port: 8083}, dialed80, asked("echo", "/"), "http://echo:8083/"},
		{"port and host", &api.Redirect{Port: 8083, Host: "example.org"}, dialed80,
			asked("echo", "/"), "http://example.org:8083/"},
		{"port 80", &api.Redirect{Port: 80}, dialed8080, asked("echo:8080", "/"), "http://echo/"},
		{"port 443 of http", &api.Redirect{Port: 443}, dialed80, asked("echo", "/"),
			"http://echo:443/"},
		{"port 443 of https", &api.Redirect{Scheme: "https", Port: 443}, dialed80,
			asked("echo", "/"), "https://echo/"},
		{"port 80 of https", &api.Redirect{Scheme: "https", Port: 80}, dialed80,
			asked("echo", "/"), "https://echo:80/"},
		{"prefix", &api.Redirect{Path: prefix("/original", "/replaced")}, dialed80,
			asked("echo", "/original/lemon?a=b"), "http://echo/replaced/lemon?a=b"},
		{"full", &api.Redirect{Path: full("/replaced")}, dialed80,
			asked("echo", "/full/path/original?a=b"), "http://echo/replaced?a=b"},
		{"a server as a whole", &api.Redirect{Scheme: "https"}, dialed80, asked("echo", "*"),
			"https://echo"},
		{"host by its field alone", &api.Redirect{}, dialed80, []hpack.HeaderField{
			{Name: ":path", Value: "/"}, {Name: "host", Value: "echo"}}, "http://echo/"},
		{"an empty host", &api.Redirect{}, dialed8080, asked("", "//example.org/"),
			"http://echo.shop.svc.cluster.local:8080//example.org/"},
	} {
		tt.m.Status = 302
		r, err := compileRedirect(tt.m)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := r.Location(tt.req, tt.dialed); got != tt.want || r.Status != 302 {
			t.Errorf("%s: %d to %s, want %s", tt.name, r.Status, got, tt.want)
		}
	}
}

func TestRedirectsAndRewritesAreUnderstoodWhole(t *testing.T) {
	good := &api.Redirect{Status: 301}
	for name, list := range map[string][]*api.Filter{
		"a redirect that is newer":   {redirect(newer(&api.Redirect{Status: 302}))},
		"no status":                  {redirect(&api.Redirect{})},
		"a status that is no move":   {redirect(&api.Redirect{Status: 304})},
		"another scheme":             {redirect(&api.Redirect{Status: 302, Scheme: "ftp"})},
		"no such port":               {redirect(&api.Redirect{Status: 302, Port: 65536})},
		"a host with a port":         {redirect(&api.Redirect{Status: 302, Host: "a:80"})},
		"a host with another header": {redirect(&api.Redirect{Status: 302, Host: "a\r\nx: y"})},
		"no modifier": {
			redirect(&api.Redirect{Status: 302, Path: &api.PathModifier{}})},
		"two redirects":            {redirect(good), redirect(good)},
		"a redirect and a rewrite": {redirect(good), rewriting(&api.Rewrite{})},
		"a rewrite and a redirect": {rewriting(&api.Rewrite{}), redirect(good)},
		"a rewrite that is newer":  {rewriting(newer(&api.Rewrite{}))},
		"a rewrite to no host":     {rewriting(&api.Rewrite{Host: "a b"})},
		"a rewrite to no path":     {rewriting(&api.Rewrite{Path: full("a")})},
	} {
		for where, rule := range map[string]*api.HTTPRule{
			"a rule":    {Filters: list},
			"a backend": {Backends: []*api.Backend{{Filters: list}}},
		} {
			if _, err := Compile(found(rule), NewBudget(nil)); err == nil {
				t.Errorf("%s of %s: a route was made of it", name, where)
			}
		}
	}
	for _, status := range []uint32{301, 302, 303, 307, 308} {
		r := compile(t, filtered(redirect(&api.Redirect{Status: status})))
		if got := r.rules[0].Redirect; got == nil || got.Status != int(status) {
			t.Errorf("a redirect of %d becomes %v", status, got)
		}
		if r.OnlyNames(); r.rules[0].Redirect != nil {
			t.Error("the service's own proxy redirects")
		}
	}
}

func TestRewrites(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    *api.Rewrite
		req  []hpack.HeaderField
		want string
	}{
		{"nothing", &api.Rewrite{}, asked("web", "/a?b"), "GET http web /a?b"},
		{"host", &api.Rewrite{Host: "one.example.org"}, asked("web:80", "/a?b"),
			"GET http one.example.org /a?b"},
		{"prefix", &api.Rewrite{Path: prefix("/a", "/c")}, asked("web", "/a/b?c"),
			"GET http web /c/b?c"},
		{"both", &api.Rewrite{Host: "one", Path: full("/c")}, asked("web", "/a"),
			"GET http one /c"},
		{"host by its field too", &api.Rewrite{Host: "one"},
			append(asked("web", "/"), hpack.HeaderField{Name: "host", Value: "web"}),
			"GET http one / one"},
		{"CONNECT", &api.Rewrite{Host: "one", Path: full("/c")}, []hpack.HeaderField{
			{Name: ":method", Value: "CONNECT"}, {Name: ":authority", Value: "web:80"}},
			"CONNECT web:80"},
	} {
		r := compile(t, filtered(rewriting(tt.m)))
		got := ""
		for _, f := range Edit(r.rules[0].Filters, false, tt.req) {
			got += " " + f.Value
		}
		if got != " "+tt.want {
			t.Errorf("%s: becomes%s, want %s", tt.name, got, tt.want)
		}
	}
}

// A fixed answer has its share like any backend, and no cluster.
func TestFixedAnswers(t *testing.T) {
	r := compile(t, found(&api.HTTPRule{Backends: []*api.Backend{
		{Cluster: "a", Weight: 1}, {Answer: 500, Weight: 1}, {Answer: 404},
	}}))
	if len(r.Clusters) != 1 {
		t.Errorf("the clusters are %q", r.Clusters)
	}
	got := map[int]int{}
	for range 100 {
		got[r.rules[0].Backends.Pick().Answer]++
	}
	if got[0] < 49 || got[500] < 49 || got[404] > 0 {
		t.Errorf("of 100 requests %v", got)
	}
	for _, b := range []*api.Backend{
		{Answer: 200}, {Answer: 399}, {Answer: 600}, {Answer: 404, Cluster: "a"},
	} {
		if _, err := Compile(found(&api.HTTPRule{Backends: []*api.Backend{b}}),
			NewBudget(nil)); err == nil {
			t.Errorf("%v is a backend", b)
		}
	}
}
