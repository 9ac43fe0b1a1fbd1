package board

import "time"

// Rule is an alert of Prometheus's.
type Rule struct {
	Alert, Expr         string
	For                 time.Duration
	Labels, Annotations map[string]string
}

// Severities: whether somebody is to be woken.
const (
	page   = "page"
	ticket = "ticket"
)

func severity(s string) map[string]string { return map[string]string{"severity": s} }

// says are a rule's annotations: what is wrong, and what to do.
func says(summary, next string) map[string]string {
	return map[string]string{"summary": summary, "description": next}
}

// Rules are the stock alerts.
func Rules() []Rule {
	all := []Rule{}
	for _, some := range [][]Rule{trafficRules, policyRules, identityRules, planeRules} {
		all = append(all, some...)
	}
	return all
}

var trafficRules = []Rule{{
	Alert: "TulleServiceFails",
	Expr: `tulle:service_errors:ratio_rate5m > 0.05
  and tulle:service_requests:rate5m > 0.1`,
	For: 10 * time.Minute, Labels: severity(page),
	Annotations: says("{{ $value | humanizePercentage }} of the requests of service "+
		"{{ $labels.service }} in {{ $labels.service_namespace }} fail, as its callers see it.",
		"meshctl viz routes svc/{{ $labels.service }} -n {{ $labels.service_namespace }} "+
			"says which; the board Service says why."),
}, {
	Alert: "TulleRetryStorm",
	Expr: `sum by (namespace, kind, workload, service_namespace, service) (
    rate(tulle_workload_tries_total{direction="outbound"}[5m]))
  / sum by (namespace, kind, workload, service_namespace, service) (
    rate(tulle_workload_requests_total{direction="outbound"}[5m])) > 1.2`,
	For: 5 * time.Minute, Labels: severity(ticket),
	Annotations: says("{{ $labels.workload }} in {{ $labels.namespace }} sends "+
		"{{ $value | humanize }} tries for each request to {{ $labels.service }}.",
		"Retries multiply the load of a service that has trouble. Look at its failures first, "+
			"then at the route's retries and their budget."),
}, {
	Alert: "TulleRetryBudgetEmpty",
	Expr: `sum by (namespace, kind, workload, service_namespace, service) (
    rate(tulle_workload_retries_refused_total[5m])) > 0`,
	For: 5 * time.Minute, Labels: severity(ticket),
	Annotations: says("Retries of {{ $labels.workload }} in {{ $labels.namespace }} to "+
		"{{ $labels.service }} are refused: their budget is used up.",
		"Callers see failures that retries would have hidden. Mend what fails before the budget "+
			"is raised."),
}, {
	Alert: "TulleAllEndpointsEjected",
	Expr: `sum by (namespace, kind, workload, service_namespace, service, backend) (
    tulle_workload_endpoints_ejected)
  >= max by (namespace, kind, workload, service_namespace, service, backend) (
    tulle_workload_endpoints) > 0`,
	For: time.Minute, Labels: severity(page),
	Annotations: says("All endpoints of {{ $labels.backend }} are ejected by "+
		"{{ $labels.workload }} in {{ $labels.namespace }}.",
		"Nothing is left to send requests to: see what the pods behind it answer."),
}}

var policyRules = []Rule{{
	Alert: "TullePolicyDenies",
	Expr: `sum by (namespace, kind, workload, peer_namespace, peer) (
    increase(tulle_workload_reasons_total{direction="inbound",reason="denied"}[10m])) > 0
  unless sum by (namespace, kind, workload, peer_namespace, peer) (
    increase(tulle_workload_reasons_total{direction="inbound",reason="denied"}[1h]
      offset 10m)) > 0`,
	Labels: severity(ticket),
	Annotations: says("{{ $labels.workload }} in {{ $labels.namespace }} denies requests of "+
		"{{ $labels.peer }} in {{ $labels.peer_namespace }}, which it did not an hour ago.",
		"Either a policy has changed, or somebody new calls."),
}, {
	Alert: "TulleWouldDeny",
	Expr: `sum by (namespace, kind, workload, peer_namespace, peer) (
    increase(tulle_workload_dry_run_refused_requests_total[10m])) > 0`,
	For: 5 * time.Minute, Labels: severity(ticket),
	Annotations: says("A dry run would refuse {{ $value | humanize }} requests in 10 minutes that "+
		"{{ $labels.peer }} sends to {{ $labels.workload }} in {{ $labels.namespace }}.",
		"They are served. Look at them before the dry run is ended: the proxy's log names the "+
			"limit."),
}, {
	Alert: "TullePlaintextToMeshed",
	Expr: `sum by (namespace, kind, workload) (label_replace(label_replace(label_replace(
    rate(tulle_workload_requests_total{direction="outbound",mtls="false",peer!=""}[5m]),
    "namespace", "$1", "peer_namespace", "(.+)"), "kind", "$1", "peer_kind", "(.+)"),
    "workload", "$1", "peer", "(.+)")) > 0
  and on (namespace, kind, workload) sum by (namespace, kind, workload) (tulle_workload_proxies)`,
	For: 5 * time.Minute, Labels: severity(ticket),
	Annotations: says("{{ $labels.workload }} in {{ $labels.namespace }} has proxies, and is "+
		"called in plaintext.",
		"Some of its pods have none: meshctl check names them; restart them to have them "+
			"injected."),
}}

var identityRules = []Rule{{
	Alert: "TulleCertificateExpiresSoon",
	// What is left of a certificate's life is the most right after it was renewed.
	Expr: `tulle_workload_certificate_expiry_timestamp_seconds - time()
  < 0.25 * max_over_time(
    (tulle_workload_certificate_expiry_timestamp_seconds - time())[1d:5m])`,
	For: 10 * time.Minute, Labels: severity(page),
	Annotations: says("A proxy of {{ $labels.workload }} in {{ $labels.namespace }} has a "+
		"certificate for {{ $value | humanizeDuration }} more, and does not renew it.",
		"Proxies renew at half of a certificate's life. Look at identity's log and at the "+
			"proxy's: meshctl check names it."),
}, {
	Alert: "TulleIssuerExpiresSoon",
	Expr: `tulle_identity_issuer_expiry_timestamp_seconds > 0
  and tulle_identity_issuer_expiry_timestamp_seconds - time() < 7 * 86400`,
	For: 10 * time.Minute, Labels: severity(page),
	Annotations: says("Identity's issuer, or a root above it, ends within a week.",
		"Without it no proxy gets a certificate. Replace the Secret tulle-identity-issuer."),
}, {
	Alert: "TulleCertificatesRefused",
	Expr:  `sum by (code) (rate(tulle_identity_certify_total{code!="OK"}[5m])) > 0`,
	For:   15 * time.Minute, Labels: severity(ticket),
	Annotations: says("Identity refuses certificates: {{ $labels.code }}.",
		"Events on the pods say which, and identity's log says why."),
}, {
	Alert: "TulleClockSkew",
	Expr:  `sum without (reason) (increase(tulle_certificates_not_yet_valid_total[10m])) > 0`,
	For:   5 * time.Minute, Labels: severity(ticket),
	Annotations: says("To the proxy at {{ $labels.instance }} peers' certificates are not valid "+
		"yet: its node's clock, or theirs, is wrong by minutes.",
		"Those connections fail. See whether time is synchronised on that node: if proxies of "+
			"many nodes say so, it is identity's that is ahead."),
}}

var planeRules = []Rule{{
	Alert: "TulleControlPlaneNoReplica",
	Expr: `label_replace(absent(tulle_identity_calls), "component", "identity", "", "")
  or label_replace(absent(tulle_destination_streams), "component", "destination", "", "")
  or label_replace(absent(tulle_viz_streams), "component", "viz", "", "")`,
	For: 5 * time.Minute, Labels: severity(page),
	Annotations: says("No replica of {{ $labels.component }} answers Prometheus.",
		"The mesh goes on with what it knows; new pods wait. meshctl check says what is wrong."),
}, {
	Alert: "TulleConfigStale",
	Expr:  `tulle_workload_config_age_seconds > 300`,
	For:   time.Minute, Labels: severity(ticket),
	Annotations: says("A proxy of {{ $labels.workload }} in {{ $labels.namespace }} has been "+
		"without destination for {{ $value | humanizeDuration }}, and goes on with what it holds.",
		"meshctl viz proxies names it, and its log says why it does not reach destination."),
}, {
	Alert: "TulleInjectionFailed",
	Expr: `sum by (result) (
    increase(tulle_injector_reviews_total{result=~"failed|refused"}[10m])) > 0`,
	Labels: severity(ticket),
	Annotations: says("The injector has not injected {{ $value | humanize }} pods in 10 minutes: "+
		"{{ $labels.result }}.",
		"They do not start. failed: see the injector's log. refused: an annotation makes no "+
			"sense, and the event of the ReplicaSet says which."),
}, {
	Alert: "TulleWatchFailing",
	Expr:  `max by (resource) (tulle_destination_watch_failing) > 0`,
	For:   5 * time.Minute, Labels: severity(ticket),
	Annotations: says("Destination does not hear of changes of {{ $labels.resource }}.",
		"Proxies have its last state. Destination's log says why the watch fails."),
}, {
	Alert: "TulleConfigRejected",
	Expr:  `sum by (kind) (increase(tulle_destination_rejected_resources_total[10m])) > 0`,
	For:   5 * time.Minute, Labels: severity(ticket),
	Annotations: says("Proxies cannot use resources of kind {{ $labels.kind }} that they got.",
		"They keep the last they could use. The status of the route or policy says who and why."),
}, {
	Alert: "TulleProxyVersionSkew",
	Expr: `sum by (namespace, kind, workload, version) (tulle_workload_proxies)
  unless on (version) tulle_build_info{component="viz"}`,
	For: 24 * time.Hour, Labels: severity(ticket),
	Annotations: says("{{ $value }} proxies of {{ $labels.workload }} in "+
		"{{ $labels.namespace }} are of version {{ $labels.version }}, not the control plane's.",
		"kubectl rollout restart gives its pods the new one."),
}, {
	Alert: "TulleSeriesOverflow",
	Expr: `increase(tulle_viz_flows_folded_total[15m]) > 0
  or increase(tulle_viz_series_refused_total[15m]) > 0
  or sum by (namespace, kind, workload) (delta(tulle_workload_recordings_folded[15m])) > 0`,
	For: 15 * time.Minute, Labels: severity(ticket),
	Annotations: says("There are more series than there is room for: some count as \"other\".",
		"meshctl viz edges shows who calls whom; what calls hundreds of others is most of it."),
}}
