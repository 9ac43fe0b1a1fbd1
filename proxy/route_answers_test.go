package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// below is a condition on the path.
func below(prefix string) *api.Match {
	return &api.Match{Match: &api.Match_Path{
		Path: &api.PathMatch{Path: &api.PathMatch_Prefix{Prefix: prefix}}}}
}

// routes are a redirect, a rewrite with retries, and a fixed answer.
func routes() []*api.HTTPRule {
	path := func(matched, replacement string) *api.PathModifier {
		return &api.PathModifier{Modifier: &api.PathModifier_Prefix{
			Prefix: &api.PrefixModifier{Matched: matched, Replacement: replacement}}}
	}
	away := &api.Redirect{Scheme: "https", Host: "example.org", Path: path("/away", "/here"),
		Status: 307}
	inside := &api.Rewrite{Host: "inside.example.org", Path: path("/strip", "")}
	return []*api.HTTPRule{
		{Match: below("/away"), Origin: &api.Origin{Rule: "away"},
			Filters: []*api.Filter{{Filter: &api.Filter_Redirect{Redirect: away}}}},
		{Match: below("/strip"), Origin: &api.Origin{Rule: "strip"},
			Filters: []*api.Filter{{Filter: &api.Filter_Rewrite{Rewrite: inside}}}},
		{Match: below("/none"), Backends: []*api.Backend{{Weight: 1, Answer: 404}}},
		{Match: below("/shared"), Filters: []*api.Filter{{Filter: &api.Filter_Cors{
			Cors: &api.CORS{AllowOrigins: []string{"https://page"}, AllowMethods: []string{"PUT"},
				MaxAgeSeconds: 9}}}}},
		{Match: below("/grpc.testing.TestService/UnaryCall"),
			Backends: []*api.Backend{{Weight: 1, Answer: 404}}},
	}
}

// ruled is one application, meshed as "web" and unmeshed as "plain", whose routes have the rules.
func ruled(t *testing.T, appProtocol, addr string) (ways map[string]string, log *output.Buffer) {
	t.Helper()
	m := newMesh(t, 0)
	log = &output.Buffer{}
	m.annotate(accessLogOn)
	web := pod{"web-0", addr, loopback.Free()}
	m.declare("web", appProtocol, web)
	m.declare("plain", appProtocol, pod{"plain-0", addr, ""})
	m.proxy("web", web)
	m.access = log
	m.through("client", func(r *api.Resource) {
		if route := r.GetRoute(); route.GetResolution() == api.Resolution_RESOLUTION_FOUND {
			route.Http = routes()
		}
	})
	caller := m.caller("web", "plain")
	return map[string]string{"outbound": caller.out["plain"], "two hops": caller.out["web"]}, log
}

// Whatever the caller and the application speak, and whether there is a proxy beside the
// application: the caller's proxy redirects, rewrites and answers.
func TestRoutesAnswerAndRewrite(t *testing.T) {
	seen := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, body)
	})
	for _, tt := range []struct {
		name, appProtocol string
		http1, http2      bool // of the application
	}{
		{"undeclared", "", true, true}, {"HTTP/1", "http", true, false},
		{"HTTP/2", "kubernetes.io/h2c", false, true},
	} {
		ways, log := ruled(t, tt.appProtocol, appOf(t, tt.http1, tt.http2, seen))
		for way, addr := range ways {
			for caller, c := range map[string]*http.Client{
				"http1": http1Client(t), "http2": http2Client(t),
			} {
				c.CheckRedirect = func(*http.Request, []*http.Request) error {
					return http.ErrUseLastResponse
				}
				t.Run(tt.name+"/"+way+"/"+caller, func(t *testing.T) {
					redirected(t, pairing{url: "http://" + addr, client: c})
					rewritten(t, pairing{url: "http://" + addr, client: c})
					routeAnswers(t, pairing{url: "http://" + addr, client: c})
					shared(t, pairing{url: "http://" + addr, client: c})
				})
			}
		}
		awaitLine(t, log, map[string]any{"url.path": "/strip/a", "tulle.route": "strip",
			"http.response.status_code": 200})
		awaitLine(t, log, map[string]any{"url.path": "/none", "tulle.reason": "no_route",
			"tulle.tries": 0, "http.response.status_code": 404})
		line := awaitLine(t, log, map[string]any{"url.path": "/away/x", "tulle.route": "away",
			"tulle.tries": 0, "http.response.status_code": 307})
		if line["tulle.reason"] != nil || line["tulle.flags"] != nil {
			t.Errorf("a redirect is logged as %v", line)
		}
	}
}

// redirected asks with and without a body that comes while the answer does.
func redirected(t *testing.T, p pairing) {
	for method, body := range map[string]io.Reader{
		"GET": nil, "HEAD": nil, "POST": strings.NewReader(strings.Repeat("b", 100<<10)),
	} {
		resp := p.do(t, method, "/away/x?y=z", body, nil)
		if got := read(t, resp); resp.StatusCode != 307 || got != "" ||
			resp.Header.Get("Location") != "https://example.org/here/x?y=z" ||
			resp.Header.Get("Tulle-Error") != "" {
			t.Errorf("%s: %d %q %v", method, resp.StatusCode, got, resp.Header)
		}
	}
}

func rewritten(t *testing.T, p pairing) {
	for path, want := range map[string]string{
		"/strip/a?b=c": "POST inside.example.org /a?b=c body",
		"/strip":       "POST inside.example.org / body",
		"/strip-not":   "POST web.example.org /strip-not body",
	} {
		resp := p.do(t, "POST", path, strings.NewReader("body"), func(r *http.Request) {
			r.Host = "web.example.org"
		})
		if got := read(t, resp); resp.StatusCode != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", path, resp.StatusCode, got, want)
		}
	}
}

func routeAnswers(t *testing.T, p pairing) {
	for method, want := range map[string]string{"GET": "the route answers 404\n", "HEAD": ""} {
		resp := p.do(t, method, "/none", nil, nil)
		if got := read(t, resp); resp.StatusCode != 404 || got != want ||
			resp.Header.Get("Tulle-Error") != "no_route: the route answers 404" {
			t.Errorf("%s: %d %q %v", method, resp.StatusCode, got, resp.Header)
		}
	}
}

// shared is what pages of other origins are told.
func shared(t *testing.T, p pairing) {
	for _, tt := range []struct{ method, origin, asked, want string }{
		{"OPTIONS", "https://page", "PUT", "204 https://page PUT 9"},
		{"OPTIONS", "https://other", "PUT", "403   "},
		{"PUT", "https://page", "", "200 https://page  "},
		{"PUT", "https://other", "", "200   "},
	} {
		resp := p.do(t, tt.method, "/shared/a", nil, func(r *http.Request) {
			r.Header.Set("Origin", tt.origin)
			if tt.asked != "" {
				r.Header.Set("Access-Control-Request-Method", tt.asked)
			}
		})
		read(t, resp)
		got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Access-Control-Allow-Origin"),
			" ", resp.Header.Get("Access-Control-Allow-Methods"), " ",
			resp.Header.Get("Access-Control-Max-Age"))
		if got != tt.want || resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%s from %s: %q, want %q; %v", tt.method, tt.origin, got, tt.want,
				resp.Header)
		}
	}
}

// A gRPC caller is told in gRPC's words.
func TestARoutesAnswerToGRPC(t *testing.T) {
	addr, _ := serveGRPC(t, &scripted{unary: func(context.Context) error { return nil }})
	ways, _ := ruled(t, "", addr)
	for way, to := range ways {
		c := dialGRPC(t, to)
		_, err := c.EmptyCall(within(t, clientTimeout), &testgrpc.Empty{})
		check(t, err)
		_, err = c.UnaryCall(within(t, clientTimeout), &testgrpc.SimpleRequest{})
		if status.Code(err) != codes.Unimplemented ||
			!strings.Contains(err.Error(), "the route answers 404") {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// A request that names its host in its target, or not at all, or wants another protocol, is
// rewritten and answered as any.
func TestUnusualRequestsAreRoutedToo(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told := fmt.Sprintf("asked %s of %q;", r.URL.Path, r.Host)
		if r.Method != http.MethodConnect {
			io.WriteString(w, told)
			return
		}
		// Go's server before 1.26.9 says how long its answer is, which nothing after CONNECT has.
		nc, _, err := http.NewResponseController(w).Hijack()
		check(t, err)
		defer nc.Close()
		io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\n"+told)
	}))
	const inside = `asked /a of "inside.example.org";`
	const last, upgrade = "Connection: close\r\n\r\n",
		"Host: a\r\nUpgrade: websocket\r\nConnection: close, upgrade\r\n\r\n"
	ways, _ := ruled(t, "", addr)
	for way, to := range ways {
		for said, want := range map[string]string{
			"GET /strip/a HTTP/1.0\r\n\r\n":                       inside,
			"GET http://a/strip/a HTTP/1.1\r\nHost: b\r\n" + last: inside,
			"GET /strip/a HTTP/1.1\r\nHost:\r\n" + last:           inside,
			"GET /strip/a HTTP/1.1\r\n" + upgrade:                 inside,
			"GET /none HTTP/1.1\r\n" + upgrade:                    "HTTP/1.1 404 Not Found",
			"GET /away HTTP/1.1\r\n" + upgrade:                    "HTTP/1.1 307 Temporary",
			"OPTIONS * HTTP/1.1\r\nHost: a\r\n" + last:            "HTTP/1.1 200",
			"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n" + last:      `asked  of "a:80"`,
		} {
			if got := exchanged(t, to, said); !strings.Contains(got, want) {
				t.Errorf("%s: %q: %q, want %q", way, said, got, want)
			}
		}
	}
}
