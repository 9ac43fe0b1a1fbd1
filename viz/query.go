package viz

import "time"

// The query API: what may be asked, and what is answered. The HTTP server and its client share
// these types; the JSON names are the API.

// The defaults and bounds of a question.
const (
	DefaultWindow = time.Minute
	MinWindow     = 2 * slotLength // one slot may just have begun
	// edgeWindow is how long after its last byte a connection's edge is still shown, at least.
	edgeWindow = 5 * time.Minute
)

// Query is one question. Not every field matters to every question.
type Query struct {
	Resource      string        // "deploy", "deploy/web", "svc", "pod", "ns", ...
	Namespace     string        // "": all of them
	From          string        // "deploy/web": only its requests
	FromNamespace string        // "": any
	To            string        // "svc/web": only requests to it
	ToNamespace   string        // "": any
	Route         string        // top: only this route
	Group         string        // top: service, route (default), pod or identity
	Window        time.Duration // of rates and quantiles; 0 is DefaultWindow
	Ago           time.Duration // how long ago the window ended
}

// Window says what time rates and quantiles are of.
type Window struct {
	Seconds float64   `json:"seconds"`
	End     time.Time `json:"end"`
	// HistoryFrom is since when viz remembers; before it there are no rates.
	HistoryFrom *time.Time `json:"historyFrom"`
}

// Figures are golden metrics. Totals count since the proxies started, rates and quantiles over the
// window. A nil rate or quantile means that nothing was there to be measured.
type Figures struct {
	Requests       uint64 `json:"requests"`
	Failures       uint64 `json:"failures"`
	Tries          uint64 `json:"tries"` // outbound only: what was really sent
	FailedTries    uint64 `json:"failedTries"`
	Retries        uint64 `json:"retries"`
	RetriesRefused uint64 `json:"retriesRefused"` // wanted, but beyond the budget
	Timeouts       uint64 `json:"timeouts"`
	// Faulted are requests that a FaultInjection delayed or answered with an error; only callers
	// know of it.
	Faulted uint64 `json:"faulted"`
	// Limited are requests that a RateLimitPolicy, or a limit of their cluster, refused.
	Limited           uint64 `json:"limited"`
	ConnectionsOpened uint64 `json:"connectionsOpened"`
	Connections       uint64 `json:"connections"` // open now
	// Ejected is from how many endpoints a caller keeps requests now, for they failed, and
	// Endpoints how many there are behind the same backends; 0 where no caller looks for such. Of
	// one endpoint that several callers have ejected there is one.
	Ejected      uint64 `json:"ejected"`
	Endpoints    uint64 `json:"endpoints"`
	ReadBytes    uint64 `json:"readBytes"`
	WrittenBytes uint64 `json:"writtenBytes"`

	WindowRequests uint64 `json:"windowRequests"`
	WindowFailures uint64 `json:"windowFailures"`
	WindowTries    uint64 `json:"windowTries"`
	WindowRetries  uint64 `json:"windowRetries"`
	WindowTimeouts uint64 `json:"windowTimeouts"`
	WindowFaulted  uint64 `json:"windowFaulted"`
	WindowLimited  uint64 `json:"windowLimited"`
	// Of WindowTries, by where the endpoint is: in the zone of the proxy that called, in another
	// one of its region, farther away. Those of which that is not known are in none.
	WindowTriesInZone   uint64 `json:"windowTriesInZone"`
	WindowTriesInRegion uint64 `json:"windowTriesInRegion"`
	WindowTriesFarther  uint64 `json:"windowTriesFarther"`
	// InZone is what part of the three together stayed in the zone, 0 to 1.
	InZone *float64 `json:"inZone"`
	// 0 to 1: what the application saw (effective)
	SuccessRate           *float64 `json:"successRate"`
	RPS                   float64  `json:"rps"`
	ActualSuccessRate     *float64 `json:"actualSuccessRate"` // outbound only: of the tries
	ActualRPS             float64  `json:"actualRps"`
	RetryRate             *float64 `json:"retryRate"` // retries per request
	P50Ms                 *float64 `json:"p50Ms"`
	P95Ms                 *float64 `json:"p95Ms"`
	P99Ms                 *float64 `json:"p99Ms"`
	ReadBytesPerSecond    float64  `json:"readBytesPerSecond"`
	WrittenBytesPerSecond float64  `json:"writtenBytesPerSecond"`
}

// Stat is the answer to /api/stat.
type Stat struct {
	Window Window    `json:"window"`
	Rows   []StatRow `json:"rows"`
}

// StatRow is one workload, pod, service or namespace.
type StatRow struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Kind      string `json:"kind"`
	Meshed    bool   `json:"meshed"`
	// Proxies is how many pods' proxies report for it now. A service has none of its own.
	Proxies int `json:"proxies"`
	// MeasuredBy is "server" (its own proxies) or "client" (its callers').
	MeasuredBy string `json:"measuredBy"`
	// CertificateExpiry is the earliest among its proxies.
	CertificateExpiry *time.Time `json:"certificateExpiry,omitempty"`
	// Folded is how often its proxies counted something under the name "other", for they had as
	// many series as they may.
	Folded uint64 `json:"folded,omitempty"`
	// Incomplete says that viz had no room for all that its proxies told.
	Incomplete bool `json:"incomplete,omitempty"`
	// ConfigAgeSeconds is how long ago destination's last word was, to the proxy of its that has
	// waited longest; ConfigRevision is what all of them hold, if they hold the same; of different
	// ones ConfigRevisions says how many, and ConfigStale how many have been without destination
	// for half a minute or more.
	ConfigAgeSeconds *float64 `json:"configAgeSeconds,omitempty"`
	ConfigRevision   string   `json:"configRevision,omitempty"`
	ConfigRevisions  int      `json:"configRevisions,omitempty"`
	ConfigStale      int      `json:"configStale,omitempty"`
	Figures
}

// Edges is the answer to /api/edges.
type Edges struct {
	Window Window    `json:"window"`
	Rows   []EdgeRow `json:"rows"`
	// Omitted is how many edges there are beside the rows, which are the busiest.
	Omitted int `json:"omitted"`
}

// EdgeRow is who talks to whom, and how that is protected.
type EdgeRow struct {
	Src          string `json:"src"`
	SrcKind      string `json:"srcKind"`
	SrcNamespace string `json:"srcNamespace"`
	Dst          string `json:"dst"`
	DstKind      string `json:"dstKind"`
	DstNamespace string `json:"dstNamespace"`
	ClientID     string `json:"clientId"` // empty: the client proved none
	ServerID     string `json:"serverId"`
	Encrypted    bool   `json:"encrypted"` // by the mesh's mTLS
	Security     string `json:"security"`  // "mtls", "plaintext-unmeshed", ...
	Reason       string `json:"reason"`    // why it is not encrypted
	// ReportedBy is "both" when each end's proxy told of the same two IDs, else "client" or
	// "server".
	ReportedBy string `json:"reportedBy"`
	Figures
}

// Routes is the answer to /api/routes.
type Routes struct {
	Window Window     `json:"window"`
	Rows   []RouteRow `json:"rows"`
}

// RouteRow is one route of a service as its callers' proxies see it.
type RouteRow struct {
	Route     string `json:"route"` // "[default]" where no route of the profile matched
	Service   string `json:"service"`
	Namespace string `json:"namespace"`
	// Backends are the versions that the route's requests were sent to, by name.
	Backends []RouteBackend `json:"backends,omitempty"`
	Figures
}

// RouteBackend is one of the versions that a route's requests were sent to.
type RouteBackend struct {
	// Backend is a Service and its port: "web-v2.shop.svc.cluster.local:80".
	Backend        string `json:"backend"`
	WindowRequests uint64 `json:"windowRequests"`
	// Share is its part of the window's requests, 0 to 1; nil: there were none.
	Share *float64 `json:"share"`
}

// Backends is the answer to /api/backends.
type Backends struct {
	Window Window       `json:"window"`
	Rows   []BackendRow `json:"rows"`
}

// BackendRow is one of the versions that calls of a service were sent to, as its callers' proxies
// see it.
type BackendRow struct {
	// Backend is a Service and its port: "web-v2.shop.svc.cluster.local:80".
	Backend   string `json:"backend"`
	Service   string `json:"service"` // that was called
	Namespace string `json:"namespace"`
	Figures
}

// Top is the answer to /api/top.
type Top struct {
	Window Window   `json:"window"`
	Total  Figures  `json:"total"`
	Rows   []TopRow `json:"rows"`
	// Proxies is how many report.
	Proxies int `json:"proxies"`
}

// TopRow is live traffic from one workload to one destination, by route.
type TopRow struct {
	From          string `json:"from"`
	FromKind      string `json:"fromKind"`
	FromNamespace string `json:"fromNamespace"`
	To            string `json:"to"`
	ToKind        string `json:"toKind"`
	ToNamespace   string `json:"toNamespace"`
	Route         string `json:"route"`
	ClientID      string `json:"clientId"`
	ServerID      string `json:"serverId"`
	Encrypted     bool   `json:"encrypted"`
	Security      string `json:"security"`
	Reason        string `json:"reason"`
	// requests per second, oldest first, of five seconds each
	Trend []float64 `json:"trend"`
	Figures
}

// Failure is the answer to a question that could not be answered.
type Failure struct {
	Error string `json:"error"`
}
