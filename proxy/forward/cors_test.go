package forward

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// sharing is a filter for pages of one origin.
func sharing(method string) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Cors{Cors: &api.CORS{
		AllowOrigins: []string{"https://page"}, AllowMethods: []string{method},
		MaxAgeSeconds: 9, AllowCredentials: true}}}
}

func shares() []*api.HTTPRule {
	return []*api.HTTPRule{
		at("/rule", &api.HTTPRule{Filters: []*api.Filter{sharing("PUT")}}),
		at("/backend", &api.HTTPRule{Backends: []*api.Backend{{Cluster: "web", Weight: 1,
			Filters: []*api.Filter{sharing("PATCH")}}}}),
		at("/away", &api.HTTPRule{Filters: []*api.Filter{sharing("PUT"),
			redirecting(&api.Redirect{Host: "example.org", Status: 302})}}),
		at("/broken", &api.HTTPRule{Filters: []*api.Filter{sharing("PUT")},
			Backends: []*api.Backend{{Answer: 500, Weight: 1}}}),
		at("/nobody", &api.HTTPRule{Filters: []*api.Filter{sharing("PUT")},
			Backends: []*api.Backend{{Cluster: "gone", Weight: 1}}}),
	}
}

// open is an act: a backend that lets every page have its answers.
func open(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	io.WriteString(w, r.Method)
}

// A preflight request is answered by the proxy, and every answer to another says which page may
// have it, whoever gives it.
func TestCORS(t *testing.T) {
	const page, other = "https://page", "https://other"
	for _, tt := range []struct {
		method, path, origin, asked string
		want                        string // status, origin, methods, max-age; backends asked
	}{
		{"OPTIONS", "/rule", page, "PUT", "204 https://page PUT 9 0"},
		{"OPTIONS", "/backend", page, "PUT", "204 https://page PATCH 9 0"},
		{"OPTIONS", "/away", page, "PUT", "204 https://page PUT 9 0"},
		{"OPTIONS", "/broken", page, "PUT", "204 https://page PUT 9 0"},
		{"OPTIONS", "/rule", other, "PUT", "403    0"},
		{"OPTIONS", "/backend", other, "PUT", "403    0"},
		{"OPTIONS", "/rule", page, "", "200 https://page   1"},
		{"OPTIONS", "/none", page, "PUT", "200 *   1"},
		{"PUT", "/rule", page, "", "200 https://page   1"},
		{"PUT", "/rule", other, "", "200    1"},
		{"PUT", "/rule", "", "", "200    1"},
		{"GET", "/backend", page, "PUT", "200 https://page   1"},
		{"GET", "/away", page, "", "302 https://page   0"},
		{"GET", "/broken", page, "", "500 https://page   0"},
		{"GET", "/broken", other, "", "500    0"},
		{"GET", "/nobody", page, "", "503 https://page   0"},
		{"GET", "/none", page, "", "200 *   1"},
	} {
		for _, http1 := range []bool{true, false} {
			t.Run(fmt.Sprint(tt.method, tt.path, tt.origin, tt.asked, http1), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := routed(t, []act{open}, shares()...)
					h.conn.http1 = http1
					s := h.conn.askFrom(tt.method, tt.path, tt.origin, tt.asked)
					h.ends(t, s)
					all, _ := h.seen()
					got := fmt.Sprint(s.status, " ",
						header.Value(s.head, "access-control-allow-origin"), " ",
						header.Value(s.head, "access-control-allow-methods"), " ",
						header.Value(s.head, "access-control-max-age"), " ", len(all))
					if got != tt.want {
						t.Errorf("got %q, want %q", got, tt.want)
					}
				})
			})
		}
	}
}

// askFrom is a request of a page, perhaps a preflight request.
func (c *ServerConn) askFrom(method, path, origin, asked string) *answers {
	head := []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "web"}, {Name: ":path", Value: path}}
	if origin != "" {
		head = append(head, hpack.HeaderField{Name: "origin", Value: origin})
	}
	if asked != "" {
		head = append(head, hpack.HeaderField{Name: "access-control-request-method", Value: asked})
	}
	s := newAnswers()
	newExchange(c, s).OnHeaders(head, true)
	c.batch.flush()
	return s
}

// A request whose head is not kept is answered as any other.
func TestCORSOfAHeadThatIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := routed(t, []act{open}, shares()...)
		h.conn.http1 = false
		h.Limits.MaxKeptHeads = 0
		s := h.conn.askFrom("GET", "/rule", "https://page", "")
		if got, _ := h.ends(t, s); got != "200 GET" ||
			header.Value(s.head, "access-control-allow-origin") != "https://page" {
			t.Errorf("answered by %q, %v", got, s.head)
		}
	})
}

// Who looks for the reason why a page may not ask finds it, and it is no failure of anybody's.
func TestAPreflightThatIsRefused(t *testing.T) {
	h := routed(t, nil, shares()...)
	s := h.conn.askFrom("OPTIONS", "/rule", "https://other", "PUT")
	status, body := s.wait(t)
	const want = "the route lets no page of this origin ask"
	if status != "403" || body != want+"\n" ||
		header.Value(s.head, header.Error) != "route_answer: "+want {
		t.Errorf("answered by %s %q, %v", status, body, s.head)
	}
	h.countedAt(t, "/rule", 0)
}
