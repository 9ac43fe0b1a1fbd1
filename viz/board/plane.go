package board

// refusals are the reasons for which a policy, and no fault, keeps a request from its service.
const refusals = `reason=~"denied|rate_limited|cluster_limit|route_answer|no_route"`

var policyBoard = Board{
	UID: "tulle-policy", Title: "Tulle / Policy",
	About:     "What was refused, by which kind of rule, and what was not protected.",
	Variables: []Variable{namespaceVariable},
	Rows: []Row{{"", []Panel{
		{Title: "Refused, by reason", Kind: lines, Unit: perSecond, Stacked: true, Queries: []Query{
			{rate("tulle_workload_reasons_total", `namespace=~"$namespace",`+refusals, "reason"),
				"{{reason}}"}}},
		{Title: "Refused, by workload and caller", Kind: table, Unit: perSecond, Queries: []Query{
			{"topk(20, " + rate("tulle_workload_reasons_total", `namespace=~"$namespace",`+refusals,
				"namespace, workload, direction, peer, reason") + ")", ""}}},
	}}, {"On purpose", []Panel{
		{Title: "Refused by limits", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_workload_limited_requests_total", `namespace=~"$namespace"`, "workload"),
				"{{workload}}"}}},
		{Title: "Faults", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_workload_faulted_requests_total", `namespace=~"$namespace"`, "service"),
				"{{service}}"}}},
	}}, {"Who proved who they are", []Panel{
		{Title: "Inbound requests within mTLS", Kind: lines, Unit: ratio, Queries: []Query{
			{requestsOf(`direction="inbound",mtls="true",namespace=~"$namespace"`, "workload") +
				" / " + requestsOf(`direction="inbound",namespace=~"$namespace"`, "workload"),
				"{{workload}}"}}},
		{Title: "Plaintext, by workload", Kind: table, Unit: perSecond, Queries: []Query{
			{requestsOf(`mtls="false",namespace=~"$namespace"`,
				"namespace, workload, direction, service"), ""}}},
	}}},
}

var identityBoard = Board{
	UID: "tulle-identity", Title: "Tulle / Identity", About: "Certificates, and who gives them.",
	Variables: []Variable{namespaceVariable},
	Rows: []Row{{"", []Panel{
		{Title: "First certificate to end", Kind: numbers, Unit: ago, Queries: []Query{
			{`min (tulle_workload_certificate_expiry_timestamp_seconds{namespace=~"$namespace"}) ` +
				`* 1000`, ""}}},
		{Title: "Issuer ends", Kind: numbers, Unit: ago, Queries: []Query{
			{"min (tulle_identity_issuer_expiry_timestamp_seconds) * 1000", ""}}},
		{Title: "Streams of trust bundles", Kind: numbers, Unit: count, Queries: []Query{
			{"sum (tulle_identity_calls)", ""}}},
	}}, {"Issuance", []Panel{
		{Title: "Certificates, by what was answered", Kind: lines, Unit: perSecond,
			Queries: []Query{{rate("tulle_identity_certify_total", "", "code"), "{{code}}"}}},
		{Title: "Connections refused", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_server_refused_connections_total", `server="identity"`, "reason"),
				"{{reason}}"}}},
	}}, {"Certificates", []Panel{
		{Title: "Left, by workload", Kind: table, Unit: seconds, Queries: []Query{
			{`sort(tulle_workload_certificate_expiry_timestamp_seconds{namespace=~"$namespace"}` +
				` - time())`, ""}}},
		{Title: "Left, of the first to end", Kind: lines, Unit: seconds, Queries: []Query{
			{`min by (namespace) (tulle_workload_certificate_expiry_timestamp_seconds` +
				`{namespace=~"$namespace"} - time())`, "{{namespace}}"}}},
	}}},
}

var planeBoard = Board{
	UID: "tulle-control-plane", Title: "Tulle / Control plane",
	About: "Identity, destination, injector and viz: what they hold, and what it costs.",
	Rows: []Row{{"Destination", []Panel{
		{Title: "Proxies connected", Kind: lines, Unit: count,
			Queries: []Query{{"sum (tulle_destination_streams)", "streams"}}},
		{Title: "Messages to proxies", Kind: lines, Unit: perSecond,
			Queries: []Query{{rate("tulle_destination_messages_total", "", ""), "messages"}}},
		{Title: "Questions and answers", Kind: lines, Unit: count, Queries: []Query{
			{"sum (tulle_destination_cells)", "questions asked"},
			{rate("tulle_destination_examined_answers_total", "", ""), "answers examined"}}},
		{Title: "Refused streams, rejected resources", Kind: lines, Unit: perSecond,
			Queries: []Query{
				{rate("tulle_destination_refusals_total", "", "code"), "{{code}}"},
				{rate("tulle_destination_rejected_resources_total", "", "kind"),
					"{{kind}} rejected"}}},
	}}, {"Viz", []Panel{
		{Title: "Proxies that report", Kind: lines, Unit: count,
			Queries: []Query{{"sum (tulle_viz_streams)", "streams"}}},
		{Title: "Memory of figures", Kind: lines, Unit: bytes, Queries: []Query{
			{"sum (tulle_viz_series_bytes)", "series"},
			{"sum (tulle_viz_history_bytes)", "history"}}},
		{Title: "Series of its page", Kind: lines, Unit: count, Stacked: true,
			Queries: []Query{{"sum by (family) (tulle_metric_series)", "{{family}}"}}},
		{Title: "Folded and refused series", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_viz_flows_folded_total", "", ""), "folded"},
			{rate("tulle_viz_series_refused_total", "", ""), "refused"}}},
	}}, {"All servers", []Panel{
		{Title: "Connections", Kind: lines, Unit: count, Queries: []Query{
			{"sum by (server) (tulle_server_connections)", "{{server}}"}}},
		{Title: "Refused connections", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_server_refused_connections_total", "", "server, reason"),
				"{{server}} {{reason}}"}}},
		{Title: "Calls", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("grpc_server_handled_total", `grpc_service=~"tulle.*"`,
				"grpc_method, grpc_code"), "{{grpc_method}} {{grpc_code}}"}}},
	}}, {"What they cost", []Panel{
		{Title: "CPU", Kind: lines, Unit: count, Queries: []Query{
			{"rate(process_cpu_seconds_total[$__rate_interval]) and on (job, instance) " +
				"tulle_server_connections", "{{pod}} {{instance}}"}}},
		{Title: "Resident memory", Kind: lines, Unit: bytes, Queries: []Query{
			{"process_resident_memory_bytes and on (job, instance) tulle_server_connections",
				"{{pod}} {{instance}}"}}},
		{Title: "Goroutines", Kind: lines, Unit: count, Queries: []Query{
			{"go_goroutines and on (job, instance) tulle_server_connections",
				"{{pod}} {{instance}}"}}},
	}}},
}

// ofProxies keeps of a series what proxies tell of themselves.
const ofProxies = ` and on (job, instance) tulle_proxy_connections_open`

var fleetBoard = Board{
	UID: "tulle-proxies", Title: "Tulle / Proxy fleet",
	About: "What proxies are and cost. By workload from viz; the rest from each proxy's " +
		"own page.",
	Variables: []Variable{namespaceVariable},
	Rows: []Row{{"", []Panel{
		{Title: "Proxies", Kind: numbers, Unit: count, Queries: []Query{
			{`sum (tulle_workload_proxies{namespace=~"$namespace"})`, ""}}},
		{Title: "Versions", Kind: lines, Unit: count, Stacked: true, Queries: []Query{
			{`sum by (version) (tulle_workload_proxies{namespace=~"$namespace"})`, "{{version}}"}}},
		{Title: "Recordings folded, by workload", Kind: table, Unit: count, Queries: []Query{
			{`tulle_workload_recordings_folded{namespace=~"$namespace"} >= 0`, ""}}},
	}}, {"What they cost", []Panel{
		{Title: "CPU for 1,000 requests a second", Kind: lines, Unit: count,
			About: "Processors that all proxies use, for each thousand requests that callers send.",
			Queries: []Query{{"1000 * sum (rate(process_cpu_seconds_total[$__rate_interval])" +
				ofProxies + ") / sum (rate(tulle_workload_requests_total" +
				`{direction="outbound"}[$__rate_interval]))`, "CPUs"}}},
		{Title: "Resident memory", Kind: lines, Unit: bytes, Queries: []Query{
			{"avg (process_resident_memory_bytes" + ofProxies + ")", "average"},
			{"max (process_resident_memory_bytes" + ofProxies + ")", "largest"}}},
		{Title: "Open files", Kind: lines, Unit: count, Queries: []Query{
			{"max (process_open_fds" + ofProxies + ")", "most"},
			{"min (process_max_fds" + ofProxies + ")", "least limit"}}},
	}}, {"What troubles them", []Panel{
		{Title: "Calls of the control plane that failed", Kind: lines, Unit: perSecond,
			Queries: []Query{{rate("tulle_control_plane_errors_total", "", "reason"),
				"{{reason}}"}}},
		{Title: "Connections not served", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_connections_refused_total", "", "reason"), "{{reason}}"}}},
		{Title: "Work shed, protocol errors", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_work_shed_total", "", "reason"), "{{reason}}"},
			{rate("tulle_protocol_errors_total", "", "reason"), "{{reason}}"}}},
		{Title: "Connections open", Kind: lines, Unit: count, Queries: []Query{
			{"sum (tulle_proxy_connections_open)", "all"},
			{"max (tulle_proxy_connections_open)", "most of a proxy"}}},
	}}},
}
