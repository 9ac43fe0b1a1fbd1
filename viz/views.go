package viz

import "time"

// views are ours, Linkerd's and Istio's names for the same figures. The others' are for the tools
// and dashboards that know them: what those count and we do not is left out, and never made up.
var views = []view{{
	labels: ownLabels, classes: ownClasses,
	requests: family{"tulle_workload_requests_total",
		"Requests that ended, by workload and by whether they succeeded."},
	counters: []countFamily{
		{family{"tulle_workload_tries_total",
			"Outbound requests that were really sent, retries included."}, tries},
		{family{"tulle_workload_timeouts_total", "Requests that ended at their timeout."},
			timeouts},
		{family{"tulle_workload_faulted_requests_total",
			"Outbound requests that were delayed, or answered with an error, on purpose."},
			faultedRequests},
		{family{"tulle_workload_limited_requests_total",
			"Requests that a rate limit, or a limit of their cluster, refused."}, limitedRequests},
		{family{"tulle_workload_tcp_connections_opened_total", "Connections opened."},
			connectionsOpened},
		{family{"tulle_workload_tcp_read_bytes_total", "Bytes read from the peer."}, readBytes},
		{family{"tulle_workload_tcp_written_bytes_total", "Bytes written to the peer."},
			writtenBytes},
	},
	ejected: family{"tulle_workload_endpoints_ejected",
		"Endpoints from which a caller keeps requests now, for they failed."},
	duration: family{"tulle_workload_request_duration_seconds",
		"Time from a request's head to the end of its response."},
	unit: time.Second,
}, {
	labels: linkerdLabels, classes: ownClasses,
	requests: family{"response_total",
		"Linkerd's name for tulle_workload_requests_total."},
	counters: []countFamily{
		{family{"request_total", "Linkerd's name for requests; counted when they end."}, requests},
		{family{"tcp_open_total", "Linkerd's name for connections opened."}, connectionsOpened},
		{family{"tcp_read_bytes_total", "Linkerd's name for bytes read from the peer."}, readBytes},
		{family{"tcp_write_bytes_total", "Linkerd's name for bytes written to the peer."},
			writtenBytes},
	},
	duration: family{"response_latency_ms",
		"Linkerd's name for tulle_workload_request_duration_seconds, in milliseconds."},
	unit: time.Millisecond,
}, {
	labels: istioLabels, classes: istioClasses,
	requests: family{"istio_requests_total",
		"Istio's name for tulle_workload_requests_total; response_code is 5xx for every failure."},
	duration: family{"istio_request_duration_milliseconds",
		"Istio's name for tulle_workload_request_duration_seconds, in milliseconds."},
	unit: time.Millisecond,
}}

// succeeded and failed are a flow's requests by what they came to. A failure is what the route's
// classes of response say: without any, 5xx and gRPC's statuses for what is a server's fault.
func succeeded(f *flow) uint64 {
	c := &f.total.counters
	return c[requests] - min(c[failures], c[requests])
}

func failed(f *flow) uint64 { return f.total.counters[failures] }

func ownClasses(f *flow) []class {
	return []class{
		{[]string{"classification", "success"}, succeeded(f)},
		{[]string{"classification", "failure"}, failed(f)},
	}
}

// istioClasses stand for codes. Proxies report whether requests failed, and not with which code:
// 5xx is every failure, so that `response_code!~"5.*"` finds what it is meant to, and non-5xx all
// else, which may be 404. A gRPC call that failed is 5xx too, where Istio says 200.
func istioClasses(f *flow) []class {
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

func ownLabels(k *flowKey) []string {
	mtls := "false"
	if k.mtls {
		mtls = "true"
	}
	return []string{
		"direction", directionName(k, "inbound", "outbound"), "namespace", k.own.namespace,
		"kind", k.own.kind, "workload", k.own.name, "peer_namespace", k.peer.namespace,
		"peer_kind", k.peer.kind, "peer", k.peer.name, "peer_id", k.callerID,
		"service_namespace", k.service.namespace, "service", k.service.name,
		"backend", k.backend, "mtls", mtls,
	}
}

// linkerdKinds are Linkerd's labels for workloads, by our kinds. Others have none.
var linkerdKinds = map[string]string{
	"deployment": "deployment", "statefulset": "statefulset", "daemonset": "daemonset",
	"replicaset": "replicaset", "replicationcontroller": "replicationcontroller",
	"job": "k8s_job", "cronjob": "cronjob", "pod": "pod",
}

func linkerdLabels(k *flowKey) []string {
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

func istioLabels(k *flowKey) []string {
	source, destination := k.own, k.peer
	if k.inbound() {
		source, destination = key{namespace: k.peer.namespace}, k.own
	}
	security := istioUnknown // as the source says: it is the destination's to tell
	if k.inbound() {
		security = "none"
		if k.mtls {
			security = "mutual_tls"
		}
	}
	return []string{
		"reporter", directionName(k, "destination", "source"),
		"source_workload", known(source.name),
		"source_workload_namespace", known(source.namespace),
		"source_principal", known(k.callerID),
		"destination_workload", known(destination.name),
		"destination_workload_namespace", known(destination.namespace),
		"destination_service", known(k.host),
		"destination_service_name", known(k.service.name),
		"destination_service_namespace", known(k.service.namespace),
		"connection_security_policy", security,
	}
}

func known(value string) string {
	if value == "" {
		return istioUnknown
	}
	return value
}
