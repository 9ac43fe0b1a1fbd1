package crd

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// How the kind is called on the outside.
const (
	BackendTrafficPolicyKind = "BackendTrafficPolicy"
	BackendTrafficPolicies   = "backendtrafficpolicies"
)

// BackendTrafficPolicyResource is what a dynamic client asks for.
func BackendTrafficPolicyResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{
		Group: Group, Version: Version, Resource: BackendTrafficPolicies,
	}
}

// BackendTrafficPolicy says how the endpoints behind Services are used: which of them a request
// goes to, how much they are asked at once, and which are left alone. It is about the Services that
// it names, or is the default of all Services of a Namespace (GEP-713).
//
// +kubebuilder:object:root=true
type BackendTrafficPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   BackendTrafficPolicySpec `json:"spec"`
	Status gatewayv1.PolicyStatus   `json:"status,omitempty"`
}

// BackendTrafficPolicySpec has a section for each thing that it may say. What it does not say, a
// policy that is about more says, or else the proxy's defaults.
type BackendTrafficPolicySpec struct {
	TargetRefs       []TrafficTarget   `json:"targetRefs"`
	LoadBalancer     *LoadBalancer     `json:"loadBalancer,omitempty"`
	Locality         *Locality         `json:"locality,omitempty"`
	Subset           *Subset           `json:"subset,omitempty"`
	SlowStart        *SlowStart        `json:"slowStart,omitempty"`
	CircuitBreaker   *CircuitBreaker   `json:"circuitBreaker,omitempty"`
	OutlierDetection *OutlierDetection `json:"outlierDetection,omitempty"`
	HealthCheck      *HealthCheck      `json:"healthCheck,omitempty"`
	RetryBudget      *RetryBudget      `json:"retryBudget,omitempty"`
	// Both are of the requests of routes that say nothing of it.
	Timeouts *TrafficTimeouts `json:"timeouts,omitempty"`
	Hedge    *Hedge           `json:"hedge,omitempty"` // of what may be retried
	// Of pods in the policy's own namespace.
	AdaptiveConcurrency *AdaptiveConcurrency `json:"adaptiveConcurrency,omitempty"`
}

// TrafficTimeouts are Go durations; 0s: as long as it takes.
type TrafficTimeouts struct {
	Request string `json:"request,omitempty"` // its retries included
	PerTry  string `json:"perTry,omitempty"`
}

// TrafficTarget is a Service, one port of it, or a Namespace, which stands for all its Services.
// One in another namespace than the policy's is about the calls from the policy's namespace.
type TrafficTarget struct {
	Group       string `json:"group,omitempty"`
	Kind        string `json:"kind"`
	Name        string `json:"name"`
	Namespace   string `json:"namespace,omitempty"`   // of a Service; empty: the policy's
	SectionName string `json:"sectionName,omitempty"` // of a Service: what a port is called
}

// The kinds of targets.
const (
	TargetService   = "Service"
	TargetNamespace = "Namespace"
)

// Service returns the name of the Service that is meant, and for a Namespace that without a name.
func (t *TrafficTarget) Service(policyNamespace string) (namespace, name string) {
	switch {
	case t.Kind == TargetNamespace:
		return t.Name, ""
	case t.Namespace != "":
		return t.Namespace, t.Name
	}
	return policyNamespace, t.Name
}

// The types of load balancers.
const (
	BalancerEWMA           = "EWMA"
	BalancerLeastRequest   = "LeastRequest"
	BalancerRoundRobin     = "RoundRobin"
	BalancerRandom         = "Random"
	BalancerConsistentHash = "ConsistentHash"
)

// LoadBalancer is how an endpoint is chosen.
type LoadBalancer struct {
	Type           string          `json:"type"`
	LeastRequest   *LeastRequest   `json:"leastRequest,omitempty"`
	ConsistentHash *ConsistentHash `json:"consistentHash,omitempty"`
}

// LeastRequest takes, of some endpoints at random, the one with the fewest requests under way.
type LeastRequest struct {
	Choices *uint32 `json:"choices,omitempty"`
}

// ConsistentHash takes the endpoint that a key of the request falls to, the first key that the
// request has. One that has none goes to an endpoint at random.
type ConsistentHash struct {
	Keys []HashKey `json:"keys"`
	// By how much an endpoint may have more than its share of the requests under way, per cent;
	// what would be more goes to the next. Absent: by whatever.
	BoundedLoadPercent *uint32 `json:"boundedLoadPercent,omitempty"`
	// At most one of the two. Neither: a Maglev table.
	Ring   *HashRing    `json:"ring,omitempty"`
	Maglev *MaglevTable `json:"maglev,omitempty"`
}

// HashKey is one of its fields.
type HashKey struct {
	Header string      `json:"header,omitempty"`
	Cookie *HashCookie `json:"cookie,omitempty"`
	Query  string      `json:"query,omitempty"`  // a parameter
	Source *HashSource `json:"source,omitempty"` // the caller's address
}

// HashCookie is a cookie of the application's callers. With a ttl, whoever has none is given one.
type HashCookie struct {
	Name string `json:"name"`
	Path string `json:"path,omitempty"`
	TTL  string `json:"ttl,omitempty"` // a Go duration
}

// HashSource has nothing to say.
type HashSource struct{}

// HashRing is a ring of a number of points between the two.
type HashRing struct {
	MinSize *uint32 `json:"minSize,omitempty"`
	MaxSize *uint32 `json:"maxSize,omitempty"`
}

// MaglevTable is Maglev's lookup table.
type MaglevTable struct {
	TableSize *uint32 `json:"tableSize,omitempty"` // a prime
}

// What a Locality may prefer.
const (
	PreferNode   = "Node"
	PreferZone   = "Zone"
	PreferRegion = "Region"
	PreferNone   = "None" // as if no policy said anything of it
)

// Why requests go farther than is preferred: for endpoints that cannot be asked, and for those that
// answer slowly unless it is Health.
const (
	SpilloverLoad   = "Load"
	SpilloverHealth = "Health"
)

// Locality says which endpoints come first, by how near they are to the caller.
type Locality struct {
	Prefer    string          `json:"prefer"`
	Spillover string          `json:"spillover,omitempty"`
	Failover  []FailoverPlace `json:"failover,omitempty"` // in this order, before other places
}

// FailoverPlace is a region, a zone, or a zone of a region.
type FailoverPlace struct {
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`
}

// Subset has each caller know part of the endpoints only. It is the Service's own namespace's to
// say.
type Subset struct {
	Size uint32 `json:"size"` // about; fewer than twice as many
}

// SlowStart gives an endpoint that is new beside older ones its share little by little.
type SlowStart struct {
	Window           string   `json:"window"` // a Go duration
	MinWeightPercent *uint32  `json:"minWeightPercent,omitempty"`
	Aggression       *float64 `json:"aggression,omitempty"` // 1: as a straight line
}

// CircuitBreaker bounds what one proxy asks of a Service's port at once. What is beyond a bound is
// refused at once.
type CircuitBreaker struct {
	MaxConnections     *uint32 `json:"maxConnections,omitempty"`
	MaxPendingRequests *uint32 `json:"maxPendingRequests,omitempty"`
	MaxRequests        *uint32 `json:"maxRequests,omitempty"`
	MaxRetries         *uint32 `json:"maxRetries,omitempty"`
}

// AdaptiveConcurrency bounds how many requests are under way at each pod behind a Service's port,
// whoever calls, by what they take: the pod's own proxy finds the limit, and refuses what is beyond
// it.
type AdaptiveConcurrency struct {
	MinRequests *uint32 `json:"minRequests,omitempty"` // of the limit, and while it measures
	MaxRequests *uint32 `json:"maxRequests,omitempty"` // of the limit
	// Of what requests take while there are few of them: they may take so much more.
	BufferPercent *uint32 `json:"bufferPercent,omitempty"`
	// Which requests of a window count: so many per cent of them take less.
	Percentile *uint32 `json:"percentile,omitempty"`
	Window     string  `json:"window,omitempty"` // a Go duration: how often the limit is set
	// What requests take while there are few of them is measured this often, and by so many, where
	// the limit is in use.
	BaselineInterval string  `json:"baselineInterval,omitempty"` // a Go duration
	BaselineRequests *uint32 `json:"baselineRequests,omitempty"`
}

// OutlierDetection keeps requests from endpoints that fail, for a time. At least one of the first
// three must be there, by which endpoints are judged.
type OutlierDetection struct {
	ConsecutiveFailures *uint32      `json:"consecutiveFailures,omitempty"`
	SuccessRate         *SuccessRate `json:"successRate,omitempty"`
	Deviation           *Deviation   `json:"deviation,omitempty"`
	// Go durations. The first time is doubled with each that follows, up to the second.
	BaseEjectionTime  string  `json:"baseEjectionTime,omitempty"`
	MaxEjectionTime   string  `json:"maxEjectionTime,omitempty"`
	MaxEjectedPercent *uint32 `json:"maxEjectedPercent,omitempty"` // of the endpoints
	DryRun            bool    `json:"dryRun,omitempty"`            // count, and eject nobody
}

// SuccessRate ejects an endpoint of which too few requests within a window have succeeded.
type SuccessRate struct {
	ThresholdPercent uint32  `json:"thresholdPercent"`
	Window           string  `json:"window,omitempty"` // a Go duration
	MinRequests      *uint32 `json:"minRequests,omitempty"`
}

// Deviation ejects an endpoint whose success rate is less than the endpoints' mean by more than a
// number of their standard deviations.
type Deviation struct {
	Factor       *float64 `json:"factor,omitempty"`
	Interval     string   `json:"interval,omitempty"` // a Go duration
	MinEndpoints *uint32  `json:"minEndpoints,omitempty"`
	MinRequests  *uint32  `json:"minRequests,omitempty"` // in the interval
}
