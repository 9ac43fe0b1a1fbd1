package viz

import (
	"slices"
	"time"
)

// views are ours, Linkerd's and Istio's names for the same figures. The others' are for the tools
// and dashboards that know them: what those count and we do not is left out, and never made up.
var views = []view{{
	labels: ownLabels, classes: ownClasses,
	requests: family{"tulle_workload_requests_total",
		"Requests that ended, by workload and by whether they succeeded."},
	counters: []countFamily{
		{family{"tulle_workload_tries_total",
			"Outbound requests that were really sent, retries included."}, is(tries)},
		{family{"tulle_workload_retries_total", "Tries that repeated one that failed."},
			is(retries)},
		{family{"tulle_workload_retries_refused_total",
			"Retries and hedges that were wanted, but beyond the budget."}, is(retriesRefused)},
		{family{"tulle_workload_timeouts_total", "Requests that ended at their timeout."},
			is(timeouts)},
		{family{"tulle_workload_faulted_requests_total",
			"Outbound requests that were delayed, or answered with an error, on purpose."},
			is(faultedRequests)},
		{family{"tulle_workload_limited_requests_total",
			"Requests that a rate limit, or a limit of their cluster, refused."},
			is(limitedRequests)},
		{family{"tulle_workload_dry_run_refused_requests_total",
			"Requests that a policy would have refused, were it no dry run."},
			is(dryRefusedRequests)},
		{family{"tulle_workload_tcp_connections_opened_total", "Connections opened."},
			is(connectionsOpened)},
		{family{"tulle_workload_tcp_read_bytes_total", "Bytes read from the peer."},
			is(readBytes)},
		{family{"tulle_workload_tcp_written_bytes_total", "Bytes written to the peer."},
			is(writtenBytes)},
	},
	reasons: family{"tulle_workload_reasons_total",
		"Requests and opaque connections that did not go plainly well, by reason."},
	gauges: []standingFamily{
		{family{"tulle_workload_endpoints_ejected",
			"Endpoints from which a caller keeps requests now, for they failed."},
			func(s *standing) uint64 { ejected, _ := s.sums(); return ejected }},
		{family{"tulle_workload_endpoints",
			"Endpoints of the backends whose callers look for those that fail."},
			func(s *standing) uint64 { _, all := s.sums(); return all }},
	},
	duration: family{"tulle_workload_request_duration_seconds",
		"Time from a request's head to the end of its response."},
	unit: time.Second,
}, {
	name: "linkerd", labels: linkerdLabels, classes: ownClasses,
	requests: family{"response_total",
		"Linkerd's name for tulle_workload_requests_total."},
	counters: []countFamily{
		{family{"request_total", "Linkerd's name for requests; counted when they end."},
			is(requests)},
		{family{"tcp_open_total", "Linkerd's name for connections opened."},
			is(connectionsOpened)},
		{family{"tcp_read_bytes_total", "Linkerd's name for bytes read from the peer."},
			is(readBytes)},
		{family{"tcp_write_bytes_total", "Linkerd's name for bytes written to the peer."},
			is(writtenBytes)},
	},
	duration: family{"response_latency_ms",
		"Linkerd's name for tulle_workload_request_duration_seconds, in milliseconds."},
	unit: time.Millisecond,
}, {
	name: "istio", labels: istioLabels, classes: istioClasses,
	requests: family{"istio_requests_total",
		"Istio's name for tulle_workload_requests_total; response_code is 5xx for every failure."},
	counters: []countFamily{
		{family{"istio_tcp_connections_opened_total", "Istio's name for connections opened."},
			ofTCP(connectionsOpened, connectionsOpened)},
		{family{"istio_tcp_sent_bytes_total",
			"Istio's name for bytes of opaque connections from the destination to the source."},
			ofTCP(writtenBytes, readBytes)},
		{family{"istio_tcp_received_bytes_total",
			"Istio's name for bytes of opaque connections from the source to the destination."},
			ofTCP(readBytes, writtenBytes)},
	},
	duration: family{"istio_request_duration_milliseconds",
		"Istio's name for tulle_workload_request_duration_seconds, in milliseconds."},
	unit: time.Millisecond,
}}

// CompatViews are the names of those whose names the page can have beside ours.
func CompatViews() (all []string) {
	for i := range views {
		if views[i].name != "" {
			all = append(all, views[i].name)
		}
	}
	return all
}

// viewsOf are ours and those that are asked for.
func viewsOf(compat []string) (all []view) {
	for i := range views {
		if views[i].name == "" || slices.Contains(compat, views[i].name) {
			all = append(all, views[i])
		}
	}
	return all
}

// is counts one of the counters.
func is(index int) func(*row) uint64 {
	return func(r *row) uint64 { return r.total.counters[index] }
}

// ofTCP counts opaque connections alone: at the destination one of the counters, at the source
// another.
func ofTCP(inbound, outbound int) func(*row) uint64 {
	return func(r *row) uint64 {
		switch {
		case r.protocol != "tcp":
			return 0
		case r.inbound:
			return r.total.counters[inbound]
		}
		return r.total.counters[outbound]
	}
}

// succeeded and failed are a row's requests by what they came to. A failure is what the route's
// classes of response say: without any, 5xx and gRPC's statuses for what is a server's fault.
func succeeded(f *row) uint64 {
	c := &f.total.counters
	return c[requests] - min(c[failures], c[requests])
}

func failed(f *row) uint64 { return f.total.counters[failures] }

func ownClasses(f *row) []class {
	return []class{
		{[]string{"classification", "success"}, succeeded(f)},
		{[]string{"classification", "failure"}, failed(f)},
	}
}

// istioClasses stand for codes. Proxies report whether requests failed, and not with which code:
// 5xx is every failure, so that `response_code!~"5.*"` finds what it is meant to, and non-5xx all
// else, which may be 404. A gRPC call that failed is 5xx too, where Istio says 200.
func istioClasses(f *row) []class {
	return []class{
		{[]string{"response_code", "non-5xx"}, succeeded(f)},
		{[]string{"response_code", "5xx"}, failed(f)},
	}
}

func directionName(k *flowKey, inbound, outbound string) string {
	if k.inbound() {
		return inbound
	}
	return outbound
}

func ownLabels(f *flow) []string {
	k := &f.key
	mtls := "false"
	if k.mtls {
		mtls = "true"
	}
	return []string{
		"direction", directionName(k, "inbound", "outbound"), "namespace", k.own.namespace,
		"kind", k.own.kind, "workload", k.own.name, "peer_namespace", k.peer.namespace,
		"peer_kind", k.peer.kind, "peer", k.peer.name, "peer_id", k.callerID,
		"service_namespace", k.service.namespace, "service", k.service.name,
		"backend", k.backend, "protocol", k.protocol, "mtls", mtls,
	}
}

// linkerdKinds are Linkerd's labels for workloads, by our kinds. Others have none.
var linkerdKinds = map[string]string{
	"deployment": "deployment", "statefulset": "statefulset", "daemonset": "daemonset",
	"replicaset": "replicaset", "replicationcontroller": "replicationcontroller",
	"job": "k8s_job", "cronjob": "cronjob", "pod": "pod",
}

func linkerdLabels(f *flow) []string {
	k := &f.key
	tls := "no_identity"
	if k.mtls {
		tls = "true"
	}
	out := []string{"direction", directionName(k, "inbound", "outbound"),
		"namespace", k.own.namespace, "tls", tls, "client_id", k.callerID,
		"dst_service", k.service.name}
	if label := linkerdKinds[k.own.kind]; label != "" {
		out = append(out, label, k.own.name)
	}
	if k.inbound() {
		return out
	}
	namespace := k.peer.namespace
	if namespace == "" {
		namespace = k.service.namespace
	}
	out = append(out, "dst_namespace", namespace)
	if label := linkerdKinds[k.peer.kind]; label != "" {
		out = append(out, "dst_"+label, k.peer.name)
	}
	return out
}

// istioUnknown is Istio's word for what a label cannot say.
const istioUnknown = "unknown"

func istioLabels(f *flow) []string {
	k := &f.key
	source, destination := k.own, k.peer
	if k.inbound() {
		source, destination = f.caller, k.own
		source.namespace = k.peer.namespace
	}
	security := istioUnknown // as the source says: it is the destination's to tell
	if k.inbound() {
		security = "none"
		if k.mtls {
			security = "mutual_tls"
		}
	}
	out := []string{
		"reporter", directionName(k, "destination", "source"),
		"source_principal", known(k.callerID), "destination_principal", istioUnknown,
		"destination_service", known(k.host),
		"destination_service_name", known(k.service.name),
		"destination_service_namespace", known(k.serviceNamespace()),
		"request_protocol", known(k.protocol), "response_flags", "-",
		"connection_security_policy", security,
	}
	return append(istioSide(out, "source_", source), istioSide(nil, "destination_",
		destination)...)
}

// istioSide names a workload. A service without labels for it is called after its workload, and its
// revision latest: Istio's proxies say so themselves. There is no label for its cluster, for Kiali
// takes figures of an unknown one for broken, and those without for its own.
func istioSide(out []string, side string, k key) []string {
	return append(out, side+"workload", known(k.name), side+"workload_namespace",
		known(k.namespace), side+"app", known(k.name), side+"version", istioUnknown,
		side+"canonical_service", known(k.name), side+"canonical_revision", "latest")
}

func known(value string) string {
	if value == "" {
		return istioUnknown
	}
	return value
}
