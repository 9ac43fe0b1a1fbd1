package board

// Board is a dashboard.
type Board struct {
	UID, Title, About string
	Variables         []Variable
	Rows              []Row
}

// Variable is what a board's user chooses: of a label's values in a series, or of a list.
type Variable struct {
	Name, Label string
	Series      string // "" is a list
	Of          string // the label
	List        []string
	All         bool // may be all, and several
}

// Row is a board's row of panels, which share its width.
type Row struct {
	Title  string
	Panels []Panel
}

// Panel is a picture of queries.
type Panel struct {
	Title, About string
	Kind         Kind
	Unit         Unit
	Queries      []Query
	Stacked      bool
}

// Kind is how a panel looks: Grafana's name of it.
type Kind string

const (
	lines   Kind = "timeseries"
	numbers Kind = "stat"
	table   Kind = "table"
)

// Unit is Grafana's name of one.
type Unit string

const (
	perSecond Unit = "reqps"
	ratio     Unit = "percentunit"
	seconds   Unit = "s"
	bytes     Unit = "bytes"
	bytesRate Unit = "Bps"
	count     Unit = "short"
	ago       Unit = "dateTimeFromNow" // of milliseconds since 1970
)

// Query is PromQL, and what each of its series is called.
type Query struct{ Expr, Legend string }

// Boards are all.
func Boards() []Board {
	return []Board{meshBoard, serviceBoard, workloadBoard, canaryBoard, policyBoard, identityBoard,
		planeBoard, fleetBoard, sloBoard}
}

var (
	namespaceVariable = Variable{Name: "namespace", Label: "Namespace",
		Series: "tulle_workload_requests_total", Of: "namespace", All: true}
	serviceNamespaceVariable = Variable{Name: "namespace", Label: "Namespace",
		Series: "tulle_workload_requests_total", Of: "service_namespace", All: true}
	serviceVariable = Variable{Name: "service", Label: "Service",
		Series: `tulle_workload_requests_total{service_namespace=~"$namespace"}`, Of: "service",
		All: true}
	workloadVariable = Variable{Name: "workload", Label: "Workload",
		Series: `tulle_workload_requests_total{namespace=~"$namespace"}`, Of: "workload",
		All: true}
)

// rate is of a counter, summed by labels.
func rate(counter, matchers, by string) string {
	return "sum by (" + by + ") (rate(" + counter + "{" + matchers + "}[$__rate_interval]))"
}

// success is the share of requests that did not fail.
func success(matchers, by string) string {
	const requests = "tulle_workload_requests_total"
	return rate(requests, matchers+`,classification="success"`, by) + " / " +
		rate(requests, matchers, by)
}

func requestsOf(matchers, by string) string {
	return rate("tulle_workload_requests_total", matchers, by)
}

// quantile is of how long requests took.
func quantile(q, matchers, by string) string {
	if by != "" {
		by += ", "
	}
	return "histogram_quantile(" + q + ", " +
		rate("tulle_workload_request_duration_seconds_bucket", matchers, by+"le") + ")"
}

// latencies are the three quantiles that everybody looks at.
func latencies(matchers string) []Query {
	return []Query{{quantile("0.5", matchers, ""), "p50"}, {quantile("0.95", matchers, ""), "p95"},
		{quantile("0.99", matchers, ""), "p99"}}
}

// Matchers of the two sides.
const (
	toService  = `direction="outbound",service_namespace=~"$namespace",service=~"$service"`
	ofWorkload = `namespace=~"$namespace",workload=~"$workload"`
	inbound    = `direction="inbound",` + ofWorkload
	outbound   = `direction="outbound",` + ofWorkload
	allCalls   = `direction="outbound",namespace=~"$namespace"`
)
