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
	Resource      string // "deploy", "deploy/web", "svc", "pod", "ns", ...
	Name          string // slo: only this objective
	Namespace     string // "": all of them
	From          string // "deploy/web": only its requests
	FromNamespace string // "": any
	To            string // "svc/web": only requests to it
	ToNamespace   string // "": any
	Route         string // top: only this route
	// Group is, for top, service, route (default), pod or identity; for the graph workload
	// (default), service or namespace.
	Group  string
	Filter string // graph: which calls to show, as ParseFilter reads it
	// Open are the namespaces that the graph shows whole, with commas between; "": all, if they
	// are few enough; "*": all; "-": none.
	Open   string
	Most   int           // graph: nodes, at most; 0: as many as can be looked at
	Step   time.Duration // series: of one point; 0: as fits the window
	Window time.Duration // of rates and quantiles; 0 is DefaultWindow
	Ago    time.Duration // how long ago the window ended
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
	Workload  string `json:"workload,omitempty"` // a pod's: "deployment/web"
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

// Graph is the answer to /api/graph: who calls whom, and where to draw them.
type Graph struct {
	Window Window      `json:"window"`
	Total  Figures     `json:"total"`
	Nodes  []GraphNode `json:"nodes"` // the busiest first
	Edges  []GraphEdge `json:"edges"`
	// Lanes are the areas of the namespaces that are shown whole.
	Lanes      []GraphLane      `json:"lanes"`
	Namespaces []GraphNamespace `json:"namespaces"`
	// HiddenNodes and HiddenEdges are how many were left out, for there are too many.
	HiddenNodes int `json:"hiddenNodes"`
	HiddenEdges int `json:"hiddenEdges"`
	// Proxies is how many report.
	Proxies int `json:"proxies"`
}

// GraphNode is a workload, a service, a namespace, or something outside the mesh.
type GraphNode struct {
	ID string `json:"id"`
	// Kind is as in other answers; "outside" stands for all callers without a proxy.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// X and Y are its place, in columns to the right and rows down.
	X float64 `json:"x"`
	Y float64 `json:"y"`
	// Proxies is how many pods' proxies report for it now.
	Proxies           int        `json:"proxies"`
	CertificateExpiry *time.Time `json:"certificateExpiry,omitempty"`
	// Workloads are those behind a service, and how many there are of a namespace.
	Workloads []string `json:"workloads,omitempty"`
	// Service is the ID of the only service that a workload is behind; "": none, or several.
	Service string `json:"service,omitempty"`
	// What it answered: for a workload as its own proxies measure it, where it has some.
	GraphFigures
}

// GraphEdge is one calling another.
type GraphEdge struct {
	From string `json:"from"` // a node's ID
	To   string `json:"to"`
	// Bends are places that its line leads through, [x, y] each.
	Bends     [][2]float64 `json:"bends,omitempty"`
	Routes    []string     `json:"routes"`
	Encrypted bool         `json:"encrypted"`
	Security  string       `json:"security"`
	Reason    string       `json:"reason,omitempty"` // why it is not encrypted
	ClientID  string       `json:"clientId,omitempty"`
	ServerID  string       `json:"serverId,omitempty"`
	GraphFigures
}

// GraphFigures are the golden metrics of a node or an edge in the window, and the totals since the
// proxies started. Fields that are 0 or unknown are left out.
type GraphFigures struct {
	RPS               float64  `json:"rps"`
	SuccessRate       *float64 `json:"successRate,omitempty"`
	ActualSuccessRate *float64 `json:"actualSuccessRate,omitempty"`
	P50Ms             *float64 `json:"p50Ms,omitempty"`
	P95Ms             *float64 `json:"p95Ms,omitempty"`
	P99Ms             *float64 `json:"p99Ms,omitempty"`
	Requests          uint64   `json:"requests"`
	Failures          uint64   `json:"failures"`
	WindowRequests    uint64   `json:"windowRequests,omitempty"`
	WindowFailures    uint64   `json:"windowFailures,omitempty"`
	Retries           uint64   `json:"retries,omitempty"` // these six of the window
	RetriesRefused    uint64   `json:"retriesRefused,omitempty"`
	Timeouts          uint64   `json:"timeouts,omitempty"`
	Faulted           uint64   `json:"faulted,omitempty"`
	Limited           uint64   `json:"limited,omitempty"`
	BytesPerSecond    float64  `json:"bytesPerSecond,omitempty"` // both ways
	Connections       uint64   `json:"connections,omitempty"`    // now, as are the last two
	Ejected           uint64   `json:"ejected,omitempty"`
	Endpoints         uint64   `json:"endpoints,omitempty"`
}

// GraphLane is the area of a namespace: from the place of its first node to that of its last.
type GraphLane struct {
	Namespace string  `json:"namespace"`
	Left      float64 `json:"left"`
	Top       float64 `json:"top"`
	Right     float64 `json:"right"`
	Bottom    float64 `json:"bottom"`
}

// GraphNamespace is a namespace, and whether it is shown whole or as one node.
type GraphNamespace struct {
	Name      string `json:"name"`
	Workloads int    `json:"workloads"`
	Open      bool   `json:"open"`
}

// Course is the answer to /api/series: how figures went, in steps of equal length, oldest first.
// null means that nothing was measured.
type Course struct {
	Window      Window     `json:"window"`
	Begin       time.Time  `json:"begin"` // of the first step
	StepSeconds float64    `json:"stepSeconds"`
	RPS         []*float64 `json:"rps"`
	SuccessRate []*float64 `json:"successRate"`
	P50Ms       []*float64 `json:"p50Ms"`
	P95Ms       []*float64 `json:"p95Ms"`
	P99Ms       []*float64 `json:"p99Ms"`
	Requests    []uint64   `json:"requests"`
	Failures    []uint64   `json:"failures"`
	Retries     []uint64   `json:"retries"`
	Timeouts    []uint64   `json:"timeouts"`
	Faulted     []uint64   `json:"faulted"`
	Limited     []uint64   `json:"limited"`
}

// Failure is the answer to a question that could not be answered.
type Failure struct {
	Error string `json:"error"`
	// NeedsSession: who asks needs a TapSession, or another one.
	NeedsSession bool `json:"needsSession,omitempty"`
}
