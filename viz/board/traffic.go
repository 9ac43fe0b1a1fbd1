package board

var meshBoard = Board{
	UID: "tulle-mesh", Title: "Tulle / Mesh", About: "All services, the worst first.",
	Variables: []Variable{namespaceVariable},
	Rows: []Row{{"", []Panel{
		{Title: "Requests", Kind: numbers, Unit: perSecond,
			Queries: []Query{{requestsOf(allCalls, ""), ""}}},
		{Title: "Success", Kind: numbers, Unit: ratio,
			Queries: []Query{{success(allCalls, ""), ""}}},
		{Title: "p99", Kind: numbers, Unit: seconds,
			Queries: []Query{{quantile("0.99", allCalls, ""), ""}}},
		{Title: "Within mTLS", Kind: numbers, Unit: ratio, About: "Of the requests that are sent.",
			Queries: []Query{{requestsOf(allCalls+`,mtls="true"`, "") + " / " +
				requestsOf(allCalls, ""), ""}}},
		{Title: "Proxies", Kind: numbers, Unit: count,
			Queries: []Query{{`sum (tulle_workload_proxies{namespace=~"$namespace"})`, ""}}},
	}}, {"Services", []Panel{
		{Title: "Worst success", Kind: table, Unit: ratio,
			Queries: []Query{{"bottomk(10, " + success(allCalls+`,service!=""`,
				"service_namespace, service") + ")", ""}}},
		{Title: "Slowest p99", Kind: table, Unit: seconds,
			Queries: []Query{{"topk(10, " + quantile("0.99", allCalls+`,service!=""`,
				"service_namespace, service") + ")", ""}}},
		{Title: "Busiest", Kind: table, Unit: perSecond,
			Queries: []Query{{"topk(10, " + requestsOf(allCalls+`,service!=""`,
				"service_namespace, service") + ")", ""}}},
	}}, {"Over time", []Panel{
		{Title: "Requests by service", Kind: lines, Unit: perSecond, Stacked: true,
			Queries: []Query{{"topk(12, " + requestsOf(allCalls, "service") + ")", "{{service}}"}}},
		{Title: "Success by service", Kind: lines, Unit: ratio,
			Queries: []Query{{"bottomk(12, " + success(allCalls, "service") + ")", "{{service}}"}}},
		{Title: "What did not go well", Kind: lines, Unit: perSecond, Stacked: true,
			Queries: []Query{{rate("tulle_workload_reasons_total",
				`namespace=~"$namespace"`, "reason"), "{{reason}}"}}},
	}}, {"Connections", []Panel{
		{Title: "Bytes read and written", Kind: lines, Unit: bytesRate, Queries: []Query{
			{rate("tulle_workload_tcp_read_bytes_total", allCalls, ""), "read"},
			{rate("tulle_workload_tcp_written_bytes_total", allCalls, ""), "written"}}},
		{Title: "Endpoints ejected", Kind: lines, Unit: count, Queries: []Query{
			{`sum by (backend) (tulle_workload_endpoints_ejected{` + allCalls + `}) > 0`,
				"{{backend}}"}}},
	}}},
}

var serviceBoard = Board{
	UID: "tulle-service", Title: "Tulle / Service",
	About:     "A service as its callers see it: after retries, and what was really sent.",
	Variables: []Variable{serviceNamespaceVariable, serviceVariable},
	Rows: []Row{{"", []Panel{
		{Title: "Requests", Kind: lines, Unit: perSecond, Queries: []Query{
			{requestsOf(toService, "service, classification"), "{{service}} {{classification}}"}}},
		{Title: "Success", Kind: lines, Unit: ratio,
			Queries: []Query{{success(toService, "service"), "{{service}}"}}},
		{Title: "Duration", Kind: lines, Unit: seconds, Queries: latencies(toService)},
	}}, {"Callers and versions", []Panel{
		{Title: "Requests by caller", Kind: lines, Unit: perSecond, Stacked: true, Queries: []Query{
			{requestsOf(toService, "namespace, workload"), "{{workload}} of {{namespace}}"}}},
		{Title: "Success by caller", Kind: lines, Unit: ratio,
			Queries: []Query{{success(toService, "namespace, workload"),
				"{{workload}} of {{namespace}}"}}},
		{Title: "Requests by backend", Kind: lines, Unit: perSecond, Stacked: true,
			Queries: []Query{{requestsOf(toService, "backend"), "{{backend}}"}}},
	}}, {"Retries and timeouts", []Panel{
		{Title: "Tries per request", Kind: lines, Unit: count,
			Queries: []Query{{rate("tulle_workload_tries_total", toService, "service") + " / " +
				requestsOf(toService, "service"), "{{service}}"}}},
		{Title: "Retries, and those beyond the budget", Kind: lines, Unit: perSecond,
			Queries: []Query{
				{rate("tulle_workload_retries_total", toService, "service"), "{{service}}"},
				{rate("tulle_workload_retries_refused_total", toService, "service"),
					"{{service}} refused"}}},
		{Title: "Timeouts", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_workload_timeouts_total", toService, "service"), "{{service}}"}}},
	}}, {"Why", []Panel{
		{Title: "Reasons", Kind: lines, Unit: perSecond, Stacked: true, Queries: []Query{
			{rate("tulle_workload_reasons_total", toService, "reason"), "{{reason}}"}}},
		{Title: "Endpoints ejected, of all", Kind: lines, Unit: count, Queries: []Query{
			{`max by (backend) (tulle_workload_endpoints_ejected{` + toService + `})`,
				"{{backend}} ejected"},
			{`max by (backend) (tulle_workload_endpoints{` + toService + `})`, "{{backend}}"}}},
	}}},
}

var workloadBoard = Board{
	UID: "tulle-workload", Title: "Tulle / Workload",
	About:     "A Deployment, or what else has pods: what comes in, and what it calls.",
	Variables: []Variable{namespaceVariable, workloadVariable},
	Rows: []Row{{"Inbound", []Panel{
		{Title: "Requests by caller", Kind: lines, Unit: perSecond, Stacked: true, Queries: []Query{
			{requestsOf(inbound, "peer_namespace, peer"), "{{peer}} of {{peer_namespace}}"}}},
		{Title: "Success by caller", Kind: lines, Unit: ratio, Queries: []Query{
			{success(inbound, "peer_namespace, peer"), "{{peer}} of {{peer_namespace}}"}}},
		{Title: "Duration", Kind: lines, Unit: seconds, Queries: latencies(inbound)},
	}}, {"Outbound", []Panel{
		{Title: "Requests by service", Kind: lines, Unit: perSecond, Stacked: true,
			Queries: []Query{{requestsOf(outbound, "service"), "{{service}}"}}},
		{Title: "Success by service", Kind: lines, Unit: ratio,
			Queries: []Query{{success(outbound, "service"), "{{service}}"}}},
		{Title: "Duration", Kind: lines, Unit: seconds, Queries: latencies(outbound)},
	}}, {"Connections and reasons", []Panel{
		{Title: "Bytes", Kind: lines, Unit: bytesRate, Queries: []Query{
			{rate("tulle_workload_tcp_read_bytes_total", inbound, "direction"), "in read"},
			{rate("tulle_workload_tcp_written_bytes_total", inbound, "direction"), "in written"},
			{rate("tulle_workload_tcp_read_bytes_total", outbound, "direction"), "out read"},
			{rate("tulle_workload_tcp_written_bytes_total", outbound, "direction"),
				"out written"}}},
		{Title: "Opaque connections opened", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_workload_tcp_connections_opened_total", ofWorkload, "direction"),
				"{{direction}}"}}},
		{Title: "Reasons", Kind: lines, Unit: perSecond, Stacked: true, Queries: []Query{
			{rate("tulle_workload_reasons_total", ofWorkload, "direction, reason"),
				"{{direction}} {{reason}}"}}},
		{Title: "Proxies", Kind: lines, Unit: count, Queries: []Query{
			{`sum by (workload, version) (tulle_workload_proxies{` + ofWorkload + `})`,
				"{{workload}} {{version}}"}}},
	}}},
}

// ofVersions are the calls of a service that a route has sent to one of its versions.
const ofVersions = toService + `,backend!=""`

var canaryBoard = Board{
	UID: "tulle-canary", Title: "Tulle / Canary",
	About:     "The versions behind one service beside each other, as its callers measure them.",
	Variables: []Variable{serviceNamespaceVariable, serviceVariable},
	Rows: []Row{{"", []Panel{
		{Title: "Share of the requests", Kind: lines, Unit: ratio, Stacked: true, Queries: []Query{
			{requestsOf(ofVersions, "service, backend") + " / ignoring (backend) group_left () " +
				requestsOf(ofVersions, "service"), "{{backend}}"}}},
		{Title: "Success", Kind: lines, Unit: ratio,
			Queries: []Query{{success(ofVersions, "backend"), "{{backend}}"}}},
		{Title: "p99", Kind: lines, Unit: seconds,
			Queries: []Query{{quantile("0.99", ofVersions, "backend"), "{{backend}}"}}},
	}}, {"The difference from the service as a whole", []Panel{
		{Title: "Success", Kind: lines, Unit: ratio, Queries: []Query{
			{success(ofVersions, "service, backend") + " - ignoring (backend) group_left () (" +
				success(ofVersions, "service") + ")", "{{backend}}"}}},
		{Title: "p99", Kind: lines, Unit: seconds, Queries: []Query{
			{quantile("0.99", ofVersions, "service, backend") +
				" - ignoring (backend) group_left () " +
				quantile("0.99", ofVersions, "service"), "{{backend}}"}}},
		{Title: "Retries", Kind: lines, Unit: perSecond, Queries: []Query{
			{rate("tulle_workload_retries_total", ofVersions, "backend"), "{{backend}}"}}},
	}}},
}

var sloBoard = Board{
	UID: "tulle-slo", Title: "Tulle / SLO",
	About: "How fast services use up what they may fail, as their callers see it. 1 is just as " +
		"fast as the objective allows; 14.4 uses up a month's budget in two days.",
	Variables: []Variable{serviceNamespaceVariable, serviceVariable,
		{Name: "objective", Label: "Objective", List: []string{"0.999", "0.99", "0.95", "0.9999"}}},
	Rows: []Row{{"", []Panel{
		{Title: "Success in an hour", Kind: table, Unit: ratio, Queries: []Query{
			{"1 - " + ofSLO("1h"), ""}}},
		{Title: "Burn rate of an hour", Kind: table, Unit: count, Queries: []Query{
			{burn("1h"), ""}}},
		{Title: "Left of six hours' budget", Kind: table, Unit: ratio, Queries: []Query{
			{"1 - " + burn("6h"), ""}}},
	}}, {"Burn rates", []Panel{
		{Title: "5 minutes", Kind: lines, Unit: count,
			Queries: []Query{{burn("5m"), "{{service}}"}}},
		{Title: "30 minutes", Kind: lines, Unit: count,
			Queries: []Query{{burn("30m"), "{{service}}"}}},
		{Title: "An hour", Kind: lines, Unit: count, Queries: []Query{{burn("1h"), "{{service}}"}}},
		{Title: "Six hours", Kind: lines, Unit: count,
			Queries: []Query{{burn("6h"), "{{service}}"}}},
	}}, {"What is behind it", []Panel{
		{Title: "Requests", Kind: lines, Unit: perSecond, Queries: []Query{
			{"tulle:service_requests:rate5m{" + ofService + "} >= 0", "{{service}}"}}},
		{Title: "p99", Kind: lines, Unit: seconds, Queries: []Query{
			{"tulle:service_request_duration_seconds:p99_5m{" + ofService + "} >= 0",
				"{{service}}"}}},
	}}},
}

const ofService = `service_namespace=~"$namespace",service=~"$service"`

func ofSLO(window string) string {
	return "tulle:service_errors:ratio_rate" + window + "{" + ofService + "}"
}

func burn(window string) string { return ofSLO(window) + " / (1 - $objective)" }
