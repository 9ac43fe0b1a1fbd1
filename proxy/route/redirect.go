package route

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// Redirect is an answer: the request is to be made elsewhere.
type Redirect struct {
	Status int
	scheme string // empty: not said
	host   string // the same
	port   string // the same
	path   *pathModifier
}

func compileRedirect(m *api.Redirect) (*Redirect, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	switch m.GetStatus() {
	case 301, 302, 303, 307, 308:
	default:
		return nil, fmt.Errorf("a redirect of status %d, which is not 301, 302, 303, 307 or 308",
			m.GetStatus())
	}
	r := &Redirect{Status: int(m.Status), scheme: m.Scheme, host: m.Host}
	if m.Scheme != "" && wellKnownPort(m.Scheme) == "" {
		return nil, fmt.Errorf("a redirect to scheme %q, which is not http or https", m.Scheme)
	}
	if m.Port > math.MaxUint16 {
		return nil, fmt.Errorf("a redirect to port %d, more than %d", m.Port, math.MaxUint16)
	}
	if m.Port > 0 {
		r.port = strconv.FormatUint(uint64(m.Port), 10)
	}
	if m.Host != "" {
		if err := api.CheckHost(m.Host); err != nil {
			return nil, err
		}
	}
	var err error
	r.path, err = compilePathModifier(m.Path)
	return r, err
}

// Location is where a request is to be made, in full. Dialed is the authority that the request's
// route is for; its port is the one that the caller dialed, whatever the request says (Gateway API,
// HTTPRequestRedirectFilter: the listener's).
func (r *Redirect) Location(req []hpack.HeaderField, dialed string) string {
	said := cmp.Or(header.Value(req, ":authority"), header.Value(req, "host"))
	host, port := splitPort(said)
	canonical, dialedPort := splitPort(dialed)
	scheme := cmp.Or(r.scheme, "http")
	switch {
	case r.port != "":
		port = r.port
	case r.scheme != "":
		port = ""
	default:
		port = cmp.Or(dialedPort, port)
	}
	if port == wellKnownPort(scheme) {
		port = ""
	}
	if port != "" {
		port = ":" + port
	}
	path := r.path.apply(header.Value(req, ":path"))
	if !strings.HasPrefix(path, "/") {
		path = "" // of "*", or of CONNECT
	}
	return scheme + "://" + cmp.Or(r.host, host, canonical) + port + path
}

// wellKnownPort is the port that a URL of a scheme need not name; empty: the scheme is not HTTP's.
func wellKnownPort(scheme string) string {
	switch scheme {
	case "http":
		return "80"
	case "https":
		return "443"
	}
	return ""
}

// splitPort takes a port off an authority, if it has one.
func splitPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") { // an IPv6 address has colons of its own
		return authority, ""
	}
	return authority[:i], authority[i+1:]
}
