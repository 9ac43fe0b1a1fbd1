package otlp

import (
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// schemaURL is the version of the semantic conventions that names and values are of.
const schemaURL = "https://opentelemetry.io/schemas/1.40.0"

func (s *span) isGRPC() bool { return s.Labels.Protocol == "grpc" }

// attributes are those of the conventions for HTTP and RPC, and the mesh's own by the names that
// the access log has for them.
func (e *encoder) attributes(s *span) {
	a := attributes{&e.message, spanAttributes}
	s.http(a)
	if s.isGRPC() {
		e.rpc(a, s)
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
	a.flag("tulle.hedge", s.try != nil && s.try.Hedge)
	a.flag("tulle.lost", s.lost)
	if s.Trace.Held {
		a.text("sampled.by", "tail-local")
	}
}

func (s *span) http(a attributes) {
	method := s.Method
	if !knownMethods[method] {
		a.text("http.request.method_original", method)
		method = other
	}
	a.text("http.request.method", method)
	a.number("http.request.resend_count", uint64(s.resent))
	a.number("http.response.status_code", uint64(s.status))
	if s.server {
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
func (s *span) template() (key, pattern string) {
	key = "url.template"
	if s.server {
		key = "http.route"
	}
	pattern = strings.TrimPrefix(s.Labels.Route, s.Method+" ")
	if !strings.HasPrefix(pattern, "/") {
		pattern = ""
	}
	return key, pattern
}

func (e *encoder) rpc(a attributes, s *span) {
	a.text("rpc.system.name", "grpc")
	a.text("rpc.method", e.methods.name(s))
	if s.grpc != "" {
		a.text("rpc.response.status_code", outcome.GRPCName(s.grpc))
	}
}

// peers are who calls, and who is called. Outbound the caller is this proxy's own application.
func (s *span) peers(a attributes) {
	host, port := outcome.SplitPort(s.Authority)
	if port == 0 && host != "" {
		port = 80
	}
	a.text("server.address", host)
	a.number("server.port", port)
	peer, caller, server := s.endpoint, s.Labels.OwnID, s.Labels.PeerID
	if s.server {
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

// bad reports whether the span's status is Error. A caller that goes away makes none, nor does a
// try that lost to another; what a caller did wrong is an error of its own span, and not of the
// server's.
func (s *span) bad() bool {
	switch {
	case s.lost || s.reason == outcome.ClientGone:
		return false
	case s.Cut && (s.try == nil || s.try.Status != 0):
		return true
	case s.status == 0:
		return s.reason != outcome.Plain
	case s.isGRPC() && s.grpc != "":
		return s.badCall()
	}
	return s.status >= 500 || s.status >= 400 && !s.server
}

// badCall reports whether gRPC's status is an error of the span's side.
func (s *span) badCall() bool {
	if !s.server {
		return s.grpc != "0"
	}
	switch s.grpc {
	case "2", "4", "12", "13", "14", "15":
		return true
	}
	return false
}

// errorType is the reason in one word, or else the status.
func (s *span) errorType() string {
	switch {
	case !s.bad():
		return ""
	case s.reason != outcome.Plain:
		return s.reason.String()
	case s.isGRPC() && s.grpc != "":
		return outcome.GRPCName(s.grpc)
	}
	return strconv.Itoa(s.status)
}

// kinds are the kinds of workloads that the conventions have a name for, in Kubernetes' spelling
// and in lower case.
var kinds = map[string]bool{"deployment": true, "statefulset": true, "daemonset": true,
	"replicaset": true, "job": true, "cronjob": true}

// resource is the workload that a proxy is of: spans are the application's, not the proxy's.
func resource(w metric.Workload, identity string, a attributes) {
	name := w.Name
	if name == "" { // destination has not said: by its service account
		name = identity[strings.LastIndexByte(identity, '/')+1:]
	}
	a.text("service.name", name)
	a.text("service.namespace", w.Namespace)
	a.text("service.instance.id", w.Pod)
	a.text("k8s.namespace.name", w.Namespace)
	a.text("k8s.pod.name", w.Pod)
	if kind := strings.ToLower(w.Kind); kinds[kind] {
		a.text("k8s."+kind+".name", w.Name)
	}
}
