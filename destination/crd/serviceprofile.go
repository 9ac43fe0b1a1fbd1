package crd

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// How the kind is called on the outside.
const (
	Group      = "tulle.dev"
	Version    = "v1alpha1"
	APIVersion = Group + "/" + Version
	Kind       = "ServiceProfile"
	Resource   = "serviceprofiles"
)

// ServiceProfileResource is what a dynamic client asks for.
func ServiceProfileResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: Resource}
}

// ServiceProfile says how requests to one service are treated. It is named after the service's full
// DNS name. A copy in the caller's namespace beats the one in the service's own.
//
// +kubebuilder:object:root=true
type ServiceProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ServiceProfileSpec   `json:"spec"`
	Status ServiceProfileStatus `json:"status,omitempty"`
}

// ServiceProfileList is what the API server answers a list with.
//
// +kubebuilder:object:root=true
type ServiceProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServiceProfile `json:"items"`
}

// ServiceProfileSpec is Linkerd's, field by field, but for what is marked as added.
type ServiceProfileSpec struct {
	Routes       []Route              `json:"routes,omitempty"` // the first that matches decides
	RetryBudget  *RetryBudget         `json:"retryBudget,omitempty"`
	DstOverrides []WeightedDst        `json:"dstOverrides,omitempty"`
	OpaquePorts  []intstr.IntOrString `json:"opaquePorts,omitempty"` // 6379, "6379" or "6000-6999"
}

// Route is a class of requests and how they are treated.
type Route struct {
	Name            string          `json:"name"`
	Condition       *RequestMatch   `json:"condition"`
	IsRetryable     bool            `json:"isRetryable,omitempty"`
	Timeout         string          `json:"timeout,omitempty"` // a Go duration; empty or 0: none
	ResponseClasses []ResponseClass `json:"responseClasses,omitempty"`
	Hedge           *Hedge          `json:"hedge,omitempty"` // added; needs isRetryable
}

// Hedge sends a second try to another endpoint beside one that is slow. The first answer counts.
type Hedge struct {
	// how long the slow one has had: a Go duration, such as the route's p95
	After string `json:"after"`
	// and longer than so many per cent of the route's answers took of late; 0: whatever they took
	Percentile uint32 `json:"percentile,omitempty"`
}

// RequestMatch holds when every field that is set holds.
type RequestMatch struct {
	PathRegex string          `json:"pathRegex,omitempty"` // RE2, anchored at both ends
	Method    string          `json:"method,omitempty"`
	All       []*RequestMatch `json:"all,omitempty"`
	Any       []*RequestMatch `json:"any,omitempty"`
	Not       *RequestMatch   `json:"not,omitempty"`
}

// ResponseClass says whether the responses it matches are failures.
type ResponseClass struct {
	Condition *ResponseMatch `json:"condition"`
	IsFailure bool           `json:"isFailure,omitempty"`
}

// ResponseMatch holds when every field that is set holds.
type ResponseMatch struct {
	Status *StatusRange     `json:"status,omitempty"`
	All    []*ResponseMatch `json:"all,omitempty"`
	Any    []*ResponseMatch `json:"any,omitempty"`
	Not    *ResponseMatch   `json:"not,omitempty"`
}

// StatusRange holds HTTP statuses, both ends included. An end that is not set is open.
type StatusRange struct {
	Min uint32 `json:"min,omitempty"`
	Max uint32 `json:"max,omitempty"`
}

// RetryBudget bounds retries to a share of the requests, plus a floor for services that see few.
type RetryBudget struct {
	RetryRatio          *float64 `json:"retryRatio,omitempty"`
	MinRetriesPerSecond *uint32  `json:"minRetriesPerSecond,omitempty"`
	TTL                 string   `json:"ttl,omitempty"`
}

// WeightedDst sends a share of the traffic to another authority.
type WeightedDst struct {
	// host, or host:port; without a port the caller's is kept
	Authority string            `json:"authority"`
	Weight    resource.Quantity `json:"weight"`
}

// ServiceProfileStatus is written by destination.
type ServiceProfileStatus struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	Routes     int32              `json:"routes"`    // a printer column cannot count
	Retryable  int32              `json:"retryable"` // how many of them may be retried
}

// Counts are the status's numbers, by their fields.
func (s *ServiceProfileStatus) Counts() map[string]int32 {
	return map[string]int32{"routes": s.Routes, "retryable": s.Retryable}
}

// The condition that says whether destination uses a profile, and its reasons.
const (
	ConditionAccepted = "Accepted"
	ReasonAccepted    = "Accepted"
	ReasonInvalid     = "Invalid"
)
