package span

import (
	"strings"

	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// SchemaURL is the version of the semantic conventions that names and values are of.
const SchemaURL = "https://opentelemetry.io/schemas/1.40.0"

// Attribute is a text, a number or a flag: the one that is not empty.
type Attribute struct {
	Key    string
	Text   string
	Number uint64
	Flag   bool
}

// attributes takes those of a span.
type attributes func(Attribute)

// text leaves out what is empty, as number and flag do.
func (a attributes) text(key, value string) {
	if value != "" {
		a(Attribute{Key: key, Text: value})
	}
}

func (a attributes) number(key string, n uint64) {
	if n != 0 {
		a(Attribute{Key: key, Number: n})
	}
}

func (a attributes) flag(key string, set bool) {
	if set {
		a(Attribute{Key: key, Flag: true})
	}
}

func (s *Span) isGRPC() bool { return s.Labels.Protocol == "grpc" }

// Attributes are those of the conventions for HTTP and RPC, and the mesh's own by the names that
// the access log has for them. No key comes twice.
func (s *Span) Attributes(m *Methods, put func(Attribute)) {
	a := attributes(put)
	s.http(a)
	if s.isGRPC() {
		s.rpc(a, m)
	}
	s.peers(a)
	a.text("error.type", s.errorType())
	a.text(outcome.NameReason, s.reason.String())
	a.text(outcome.NameError, s.Detail)
	a.text(outcome.NameDestination, s.Labels.Authority)
	a.text(outcome.NameNamespace, s.Labels.Namespace)
	a.text(outcome.NameService, s.Labels.Service)
	a.text(outcome.NameRoute, s.Labels.Route)
	a.text(outcome.NameBackend, s.Labels.Backend)
	a.flag(outcome.NameHedge, s.try != nil && s.try.Hedge)
	a.flag(outcome.NameLost, s.lost)
	if s.Trace.Held {
		a.text("sampled.by", "tail-local")
	}
}

func (s *Span) http(a attributes) {
	method := s.Method
	if !knownMethods[method] {
		a.text("http.request.method_original", method)
		method = other
	}
	a.text("http.request.method", method)
	a.number("http.request.resend_count", uint64(s.Resent))
	a.number("http.response.status_code", uint64(s.status))
	if s.Server {
		a.text("url.scheme", "http")
		a.text("url.path", s.Path)
		a.text("url.query", strings.TrimPrefix(s.Trace.Query, "?"))
	} else {
		a.text("url.full", "http://"+s.Authority+s.Path+s.Trace.Query)
	}
	a.text(s.template())
	version := "2"
	if s.HTTP1 {
		version = "1.1"
	}
	a.text("network.protocol.version", version)
}

// template is the attribute of a route whose name is a path's pattern; empty: it is not.
func (s *Span) template() (key, pattern string) {
	key = "url.template"
	if s.Server {
		key = "http.route"
	}
	pattern = strings.TrimPrefix(s.Labels.Route, s.Method+" ")
	if !strings.HasPrefix(pattern, "/") {
		pattern = ""
	}
	return key, pattern
}

func (s *Span) rpc(a attributes, m *Methods) {
	a.text("rpc.system.name", "grpc")
	a.text("rpc.method", m.name(s))
	if s.grpc != "" {
		a.text("rpc.response.status_code", outcome.GRPCName(s.grpc))
	}
}

// peers are who calls, and who is called. Outbound the caller is this proxy's own application.
func (s *Span) peers(a attributes) {
	host, port := outcome.SplitPort(s.Authority)
	if port == 0 && host != "" {
		port = 80
	}
	a.text("server.address", host)
	a.number("server.port", port)
	peer, caller, server := s.endpoint, s.Labels.OwnID, s.Labels.PeerID
	if s.Server {
		peer, caller, server = s.ClientAddress, server, caller
		client, _ := outcome.SplitPort(s.ClientAddress)
		a.text("client.address", strings.Trim(client, "[]"))
	}
	host, port = outcome.SplitPort(peer)
	a.text("network.peer.address", strings.Trim(host, "[]"))
	a.number("network.peer.port", port)
	a.text(outcome.NameClientID, caller)
	a.text(outcome.NameServerID, server)
	if s.Labels.Security != 0 {
		a.text(outcome.NameSecurity, s.Labels.Security.String())
	}
}
