package forward

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"golang.org/x/net/http2/hpack"
)

func byHeader(name string) *api.HashKey {
	return &api.HashKey{Key: &api.HashKey_Header{Header: name}}
}

func byQuery(name string) *api.HashKey {
	return &api.HashKey{Key: &api.HashKey_Query{Query: name}}
}

func bySource() *api.HashKey { return &api.HashKey{Key: &api.HashKey_Source{}} }

func byCookie(ttl uint64, path string) *api.HashKey {
	return &api.HashKey{Key: &api.HashKey_Cookie{
		Cookie: &api.Cookie{Name: "sid", TtlMs: ttl, Path: path}}}
}

// hashing is a mesh in memory with three endpoints, whose requests go by these keys.
func hashing(t *testing.T, acts []act, keys ...*api.HashKey) *hedged {
	h := newHedged(t, 3, acts...)
	h.rule.Hedge = 0
	h.say(&api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "web",
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: "web",
			Balancer: &api.Cluster_ConsistentHash{ConsistentHash: &api.ConsistentHash{
				Keys: keys, Table: &api.ConsistentHash_Maglev{
					Maglev: &api.Maglev{TableSize: 1021}}}}}}})
	return h
}

// goes is where a request goes, and its answer.
func (h *hedged) goes(
	t *testing.T, target string, fields ...hpack.HeaderField,
) (endpoint string, s *answers) {
	t.Helper()
	_, s = h.conn.ask(target, true, fields...)
	if status, _ := s.wait(t); status != "200" {
		t.Fatalf("answered by %s", status)
	}
	all, _ := h.seen()
	return all[len(all)-1].at, s
}

// called is a connection that comes from somewhere.
type called struct {
	net.Conn
	from net.Addr
}

func (c called) RemoteAddr() net.Addr { return c.from }

// A request goes where its key falls: always to the same endpoint, and not all to one. Of several
// keys the first that it has counts, and an empty value is none.
func TestARequestGoesWhereItsKeyFalls(t *testing.T) {
	const users = 16
	field := func(name, value string) []hpack.HeaderField {
		return []hpack.HeaderField{{Name: name, Value: value}}
	}
	for _, tt := range []struct {
		name string
		keys []*api.HashKey
		// what the request of a user has; noise differs each time
		ask func(user, noise int) (target string, fields []hpack.HeaderField)
		any bool // it has no key
	}{
		{"header", []*api.HashKey{byHeader("x-user")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return fmt.Sprint("/", noise), field("x-user", fmt.Sprint("user-", user))
			}, false},
		{"values in any order", []*api.HashKey{byHeader("x-user")},
			func(user, noise int) (string, []hpack.HeaderField) {
				one, two := field("x-user", "a"), field("x-user", fmt.Sprint(user))
				if noise%2 == 0 {
					one, two = two, one
				}
				return "/", append(one, two...)
			}, false},
		{"host", []*api.HashKey{byHeader("host")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return "/", field("host", fmt.Sprint(user))
			}, false},
		{"query", []*api.HashKey{byQuery("user")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return fmt.Sprintf("/%d?n=%d&user=%d", noise, noise, user), nil
			}, false},
		{"cookie", []*api.HashKey{byCookie(0, "")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return "/", field("cookie", fmt.Sprintf("a=%d; sid=%d;b=c", noise, user))
			}, false},
		{"cookies of HTTP/2", []*api.HashKey{byCookie(0, "")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return "/", append(field("cookie", fmt.Sprint("a=", noise)),
					field("cookie", fmt.Sprint("sid=", user))...)
			}, false},
		{"the first key", []*api.HashKey{byHeader("x-none"), byQuery("user"), byHeader("x-noise")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return fmt.Sprint("/?user=", user), append(field("x-none", ""),
					field("x-noise", fmt.Sprint(noise))...)
			}, false},
		{"no key", []*api.HashKey{byHeader("x-user"), byCookie(0, ""), byQuery("user")},
			func(user, noise int) (string, []hpack.HeaderField) {
				return "/?user", append(field("x-user", ""), field("cookie", "sid=; xsid=1")...)
			}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hashing(t, nil, tt.keys...)
				places := map[string]bool{}
				moved := 0
				for user := range users {
					target, fields := tt.ask(user, 0)
					first, _ := h.goes(t, target, fields...)
					places[first] = true
					for noise := range 3 {
						target, fields := tt.ask(user, noise+1)
						if again, _ := h.goes(t, target, fields...); again != first {
							moved++
						}
					}
				}
				if len(places) < 2 || (moved > 0) != tt.any {
					t.Errorf("%d of %d requests went elsewhere than the first of their users, "+
						"and those to %d endpoints", moved, 3*users, len(places))
				}
			})
		})
	}
}

// Callers at one address go to one endpoint, whatever their connections.
func TestACallersAddressIsAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hashing(t, nil, bySource())
		places := map[string]bool{}
		for host := range 16 {
			first := ""
			for port := range 3 {
				from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(host)), Port: 1024 + port}
				h.conn.wire = wire.New(called{from: from}, nil)
				at, _ := h.goes(t, "/")
				if first == "" {
					first = at
				}
				if at != first {
					t.Errorf("one address is at %s and %s", first, at)
				}
			}
			places[first] = true
		}
		if len(places) < 2 {
			t.Error("all addresses are at one endpoint")
		}
	})
}

// Who has no cookie is given one that leads back to where the request went. Who has one is given
// none, and neither is who speaks gRPC, or a caller of a cluster that gives none.
func TestACookieIsGivenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hashing(t, nil, byCookie(90_500, "/shop"))
		values := map[string]bool{}
		for range 16 {
			first, s := h.goes(t, "/")
			given := header.Value(s.head, "set-cookie")
			pair, rest, _ := strings.Cut(given, "; ")
			if rest != "Max-Age=91; Path=/shop; HttpOnly" || !strings.HasPrefix(pair, "sid=") {
				t.Fatalf("given %q", given)
			}
			values[pair] = true
			for range 3 {
				again, s := h.goes(t, "/", hpack.HeaderField{Name: "cookie", Value: "a=b; " + pair})
				if again != first {
					t.Errorf("with the cookie that was given at %s a request goes to %s",
						first, again)
				}
				if given := header.Value(s.head, "set-cookie"); given != "" {
					t.Errorf("who has a cookie is given %q", given)
				}
			}
		}
		if len(values) != 16 {
			t.Errorf("16 callers have %d cookies", len(values))
		}
	})
	for name, tt := range map[string]struct {
		key    *api.HashKey
		fields []hpack.HeaderField
	}{
		"a gRPC client":          {byCookie(90_500, ""), []hpack.HeaderField{grpcCall}},
		"who is given no cookie": {byCookie(0, ""), nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := hashing(t, nil, tt.key)
			h.conn.http1 = tt.fields == nil
			if _, s := h.goes(t, "/", tt.fields...); header.Value(s.head, "set-cookie") != "" {
				t.Errorf("%s is given a cookie", name)
			}
		})
	}
}

// Who is given a cookie is given one for all tries of the request: it leads to where the first was.
func TestARetryGivesNoOtherCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 8
		var acts []act
		for range callers { // a try that fails, its retry, and the request with the cookie
			acts = append(acts, answer(0, 503, ""), answer(0, 200, ""), answer(0, 200, ""))
		}
		h := hashing(t, acts, byCookie(60_000, ""))
		for i := range callers {
			_, s := h.goes(t, "/")
			pair, _, _ := strings.Cut(header.Value(s.head, "set-cookie"), ";")
			again, _ := h.goes(t, "/", hpack.HeaderField{Name: "cookie", Value: pair})
			if all, _ := h.seen(); all[3*i].at != again {
				t.Errorf("the first try was at %s, and the cookie leads to %s", all[3*i].at, again)
			}
		}
	})
}

// A retry goes to the endpoint after the one that failed, the same one for each request of a key.
func TestARetryGoesToTheNextOfItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := answer(0, 503, "")
		h := hashing(t, []act{fails, fails, answer(0, 200, ""), fails, fails}, byHeader("x-user"))
		h.rule.MaxTries = 3
		user := hpack.HeaderField{Name: "x-user", Value: "ann"}
		h.goes(t, "/", user)
		h.goes(t, "/", user)
		var at []string
		all, _ := h.seen()
		for _, one := range all {
			at = append(at, one.at)
		}
		if len(at) != 6 || at[0] == at[1] || at[1] == at[2] || at[0] == at[2] {
			t.Fatalf("tries at %v, want three endpoints each time", at)
		}
		if at[0] != at[3] || at[1] != at[4] || at[2] != at[5] {
			t.Errorf("tries at %v, want the same order each time", at)
		}
	})
}

func FuzzCookie(f *testing.F) {
	f.Add("a=b; sid=1", "sid", "x")
	f.Add("sid", "sid", "a=b")
	f.Add("; ;=;sid =1", "sid", "\"quoted\"")
	f.Fuzz(func(t *testing.T, text, name, value string) {
		if !header.IsToken(name) {
			return
		}
		fields := []hpack.HeaderField{{Name: "cookie", Value: text}}
		got := cookie(fields, name)
		if strings.Contains(got, ";") || !strings.Contains(text, name+"="+got) && got != "" {
			t.Errorf("%q of %q is %q", name, text, got)
		}
		if got != "" || value == "" || strings.ContainsAny(value, ";\t ") {
			return
		}
		fields[0].Value += "; " + name + "=" + value
		if got := cookie(fields, name); got != value {
			t.Errorf("%q of %q is %q, want %q", name, fields[0].Value, got, value)
		}
	})
}

func BenchmarkHashKeys(b *testing.B) {
	x := &exchange{req: []hpack.HeaderField{{Name: ":path", Value: "/a?b=c&user=ann"},
		{Name: "x-user", Value: "ann"}, {Name: "cookie", Value: "a=b; sid=0123456789"}}}
	for _, k := range []balance.HashKey{{Header: "x-user"}, {Query: "user"}, {Cookie: "sid"}} {
		b.Run(k.Header+k.Query+k.Cookie, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				x.hashBy(&k)
			}
		})
	}
}
