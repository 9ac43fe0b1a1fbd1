package api

// The capabilities that a proxy names in its Hello, for what not every proxy is able to do. What
// has none, every proxy of this API knows.
const (
	CapabilityRequestHeaders  = "filter/request-headers"
	CapabilityResponseHeaders = "filter/response-headers"
	CapabilityRedirect        = "filter/redirect"
	CapabilityRewrite         = "filter/rewrite"
	CapabilityMirror          = "filter/mirror"
	CapabilityCORS            = "filter/cors"
	CapabilityAnswer          = "backend/answer"
	CapabilityRetryStatuses   = "retry/statuses"
	CapabilityHedgePercentile = "hedge/percentile"
	CapabilityTLSRules        = "rules/tls"
	CapabilityTCPRules        = "rules/tcp"
	CapabilityFaults          = "rules/faults"
	CapabilityAudit           = "action/audit"
	CapabilityLimits          = "cluster/limits"
	CapabilityOutliers        = "cluster/outlier-detection"
	CapabilityLocality        = "cluster/locality"
	CapabilityConfig          = "config"
	CapabilityAccessLog       = "config/access-log"
	CapabilityAccessLogFilter = "config/access-log-filter"
	CapabilityTracing         = "config/tracing"
	CapabilityTracingViz      = "config/tracing-viz"
	CapabilityLeastRequest    = "balancer/least-request"
	CapabilityRoundRobin      = "balancer/round-robin"
	CapabilityRandom          = "balancer/random"
	CapabilityConsistentHash  = "balancer/consistent-hash"
	CapabilityRateLimit       = "rate-limit"
	CapabilityHealthCheck     = "health-check"
	CapabilityConcurrency     = "inbound/concurrency"
)

// Needs returns the capabilities without which a proxy cannot use a resource, in no order, some
// perhaps twice.
func (x *Resource) Needs() []string {
	switch body := x.GetBody().(type) {
	case *Resource_Route:
		return body.Route.needs()
	case *Resource_Cluster:
		return body.Cluster.needs()
	case *Resource_Inbound:
		need := needsOf(body.Inbound.GetHttp())
		if body.Inbound.GetDefaultAction() == Action_ACTION_AUDIT {
			need = append(need, CapabilityAudit)
		}
		if len(body.Inbound.GetRateLimits()) > 0 {
			need = append(need, CapabilityRateLimit)
		}
		if body.Inbound.GetHealthCheck() != nil {
			need = append(need, CapabilityHealthCheck)
		}
		if body.Inbound.GetConcurrency() != nil {
			need = append(need, CapabilityConcurrency)
		}
		return need
	case *Resource_Config:
		return body.Config.needs()
	}
	return nil
}

func (x *AccessLog) needs() []string {
	switch {
	case x == nil:
		return nil
	case x.Format != Format_FORMAT_TEXT && !x.FailuresOnly && x.SampleDenominator == 0 &&
		x.LinesPerSecond == 0:
		return []string{CapabilityAccessLog}
	}
	return []string{CapabilityAccessLog, CapabilityAccessLogFilter}
}

func (x *Config) needs() []string {
	need := append(x.GetAccessLog().needs(), CapabilityConfig)
	if t := x.GetTracing(); t != nil {
		need = append(need, CapabilityTracing)
		if t.Endpoint == "" {
			need = append(need, CapabilityTracingViz)
		}
	}
	return need
}

func (x *Cluster) needs() (need []string) {
	switch x.GetBalancer().(type) {
	case *Cluster_LeastRequest:
		need = append(need, CapabilityLeastRequest)
	case *Cluster_RoundRobin:
		need = append(need, CapabilityRoundRobin)
	case *Cluster_Random:
		need = append(need, CapabilityRandom)
	case *Cluster_ConsistentHash:
		need = append(need, CapabilityConsistentHash)
	}
	if x.GetLimits() != nil {
		need = append(need, CapabilityLimits)
	}
	if x.GetOutlierDetection() != nil {
		need = append(need, CapabilityOutliers)
	}
	if x.GetLocalityPreference() != nil {
		need = append(need, CapabilityLocality)
	}
	return need
}

func (x *Route) needs() []string {
	need := append(needsOf(x.GetHttp()), needsOfBackends(x.GetBackends())...)
	for _, r := range x.GetTls() {
		need = append(append(need, CapabilityTLSRules), needsOfBackends(r.GetBackends())...)
	}
	for _, r := range x.GetTcp() {
		need = append(append(need, CapabilityTCPRules), needsOfBackends(r.GetBackends())...)
	}
	return need
}

func needsOf(rules []*HTTPRule) []string {
	var need []string
	for _, r := range rules {
		need = append(append(need, needsOfFilters(r.GetFilters())...),
			needsOfBackends(r.GetBackends())...)
		if r.GetRetry().selects() {
			need = append(need, CapabilityRetryStatuses)
		}
		if r.GetHedge().GetPercentile() > 0 {
			need = append(need, CapabilityHedgePercentile)
		}
		if len(r.GetFaults()) > 0 {
			need = append(need, CapabilityFaults)
		}
	}
	return need
}

// selects reports whether anything but the number of tries is said. A proxy that overlooks it tries
// more again, and sooner, than it may.
func (x *Retry) selects() bool {
	return x.GetListed() || x.GetBackoffMs() > 0 || len(x.GetStatuses()) > 0 ||
		len(x.GetGrpcStatuses()) > 0 || len(x.GetMethods()) > 0
}

func needsOfBackends(list []*Backend) []string {
	var need []string
	for _, b := range list {
		need = append(need, needsOfFilters(b.GetFilters())...)
		if b.GetAnswer() != 0 {
			need = append(need, CapabilityAnswer)
		}
	}
	return need
}

func needsOfFilters(list []*Filter) []string {
	var need []string
	for _, f := range list {
		switch f.GetFilter().(type) {
		case *Filter_RequestHeaders:
			need = append(need, CapabilityRequestHeaders)
		case *Filter_ResponseHeaders:
			need = append(need, CapabilityResponseHeaders)
		case *Filter_Redirect:
			need = append(need, CapabilityRedirect)
		case *Filter_Rewrite:
			need = append(need, CapabilityRewrite)
		case *Filter_Mirror:
			need = append(need, CapabilityMirror)
		case *Filter_Cors:
			need = append(need, CapabilityCORS)
		}
	}
	return need
}
