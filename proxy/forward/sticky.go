package forward

import (
	"crypto/rand"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/route"
	"golang.org/x/net/http2/hpack"
)

// pickKey is what an endpoint is picked by for a try, before which there were so many.
func (x *exchange) pickKey(
	set *balance.EndpointSet, avoid *balance.Endpoint, tries uint8, now time.Time,
) balance.Key {
	k := balance.Key{Avoid: avoid, Now: now, Try: int(tries)}
	keys := set.HashKeys()
	for i := 0; i < len(keys) && !k.Hashed; i++ {
		k.Hash, k.Hashed = x.hashBy(&keys[i])
	}
	return k
}

// hashBy hashes what the request has of a key. An empty value is none: all that have one would go
// to one endpoint.
func (x *exchange) hashBy(k *balance.HashKey) (hash uint64, found bool) {
	switch {
	case k.Header != "":
		return hashField(x.req, k.Header)
	case k.Query != "":
		value, _ := route.Parameter(header.Value(x.req, ":path"), k.Query)
		return balance.Hash(value), value != ""
	case k.Cookie != "":
		return x.hashCookie(k)
	}
	return hashSource(x.c.wire.RemoteAddr())
}

// hashField hashes all values of a field, in whatever order they come.
func hashField(fields []hpack.HeaderField, name string) (hash uint64, found bool) {
	for i := range fields {
		f := &fields[i]
		named := f.Name == name || name == "host" && f.Name == ":authority"
		if named && f.Value != "" {
			hash, found = hash+balance.Hash(f.Value), true
		}
	}
	return hash, found
}

func hashSource(from net.Addr) (hash uint64, found bool) {
	a, ok := from.(*net.TCPAddr)
	if !ok {
		return 0, false
	}
	return balance.HashAddress(a.AddrPort().Addr()), true
}

// hashCookie hashes a cookie, or the one that whoever has none is given. Its value is at random:
// one made of the addresses would be the same for all users behind one gateway. gRPC's clients keep
// no cookies.
func (x *exchange) hashCookie(k *balance.HashKey) (hash uint64, found bool) {
	value := cookie(x.req, k.Cookie)
	if value == "" && k.TTL > 0 && !x.grpc {
		value = x.give(k).value
	}
	return balance.Hash(value), value != ""
}

// givenCookie is one that the caller of a request is given.
type givenCookie struct{ value, field string }

// give gives a cookie once: the next try goes by the same one.
func (x *exchange) give(k *balance.HashKey) *givenCookie {
	if x.given == nil {
		value := rand.Text()
		x.given = &givenCookie{value, setCookie(k, value)}
	}
	return x.given
}

// cookie is the value of the first cookie of a name that has one (RFC 6265, section 5.4). HTTP/2
// may split them over several fields (RFC 9113, section 8.2.3).
func cookie(fields []hpack.HeaderField, name string) string {
	for i := range fields {
		if fields[i].Name != "cookie" {
			continue
		}
		for pair := range strings.SplitSeq(fields[i].Value, ";") {
			n, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if n == name && value != "" {
				return value
			}
		}
	}
	return ""
}

// setCookie gives a cookie (RFC 6265, section 4.1). Scripts have no use for it.
func setCookie(k *balance.HashKey, value string) string {
	life := (k.TTL + time.Second - 1) / time.Second
	text := k.Cookie + "=" + value + "; Max-Age=" + strconv.FormatInt(int64(life), 10)
	if k.Path != "" {
		text += "; Path=" + k.Path
	}
	return text + "; HttpOnly"
}
