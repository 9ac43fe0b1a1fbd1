package board

// Recording is a series that Prometheus computes.
type Recording struct{ Record, Expr string }

// errorWindows are those over which failures are told: the short and long ones of alerts by burn
// rate, as far as they are answered without days of history.
var errorWindows = []string{"5m", "30m", "1h", "6h"}

// Recordings are what alerts and boards share. A service's figures are its callers', so that probes
// are not in them, and a request that nobody could be found for is.
func Recordings() []Recording {
	all := []Recording{
		{"tulle:service_requests:rate5m", serviceRate("", "5m")},
		{"tulle:service_request_duration_seconds:p99_5m", `histogram_quantile(0.99,
  sum by (service_namespace, service, le) (
    rate(tulle_workload_request_duration_seconds_bucket{direction="outbound"}[5m])))`},
	}
	for _, window := range errorWindows {
		all = append(all, Recording{"tulle:service_errors:ratio_rate" + window,
			serviceRate(`,classification="failure"`, window) + "\n/ " + serviceRate("", window)})
	}
	return all
}

// serviceRate is of a service's requests, or of those that a matcher is for.
func serviceRate(matcher, window string) string {
	return `sum by (service_namespace, service) (
  rate(tulle_workload_requests_total{direction="outbound",service!=""` + matcher + `}[` + window +
		`]))`
}
