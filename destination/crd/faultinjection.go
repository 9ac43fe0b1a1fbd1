package crd

import (
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// FaultInjections are the resources of the kind FaultInjection.
const (
	FaultInjections    = "faultinjections"
	FaultInjectionKind = "FaultInjection"
)

// FaultInjectionResource is what a dynamic client asks for.
func FaultInjectionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: FaultInjections}
}

// FaultInjection does harm on purpose, until it ends by itself: requests to Services of its
// namespace, or by rules of its HTTPRoutes and GRPCRoutes that refer to it, are delayed, or
// answered with an error.
//
// +kubebuilder:object:root=true
type FaultInjection struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   FaultInjectionSpec     `json:"spec"`
	Status gatewayv1.PolicyStatus `json:"status,omitempty"`
}

// FaultInjectionList is what the API server answers a list with.
//
// +kubebuilder:object:root=true
type FaultInjectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []FaultInjection `json:"items"`
}

// FaultInjectionSpec says what happens to which requests.
type FaultInjectionSpec struct {
	TargetRefs []ServiceReference `json:"targetRefs,omitempty"` // empty: of routes alone

	Match *gatewayv1.HTTPRouteMatch `json:"match,omitempty"` // absent: every request
	From  []FaultCaller             `json:"from,omitempty"`  // empty: everybody's
	Delay *FaultDelay               `json:"delay,omitempty"`
	Abort *FaultAbort               `json:"abort,omitempty"` // after the delay
	Until metav1.Time               `json:"until"`
}

// FaultCaller is whose requests are meant.
type FaultCaller struct {
	Namespace      string `json:"namespace"`
	ServiceAccount string `json:"serviceAccount,omitempty"` // empty: all of the namespace
}

// FaultDelay holds a share of the requests back.
type FaultDelay struct {
	Duration string   `json:"duration"`          // such as 250ms
	Percent  *float64 `json:"percent,omitempty"` // of the requests, to 0.0001; absent: 100
}

// FaultAbort answers a share of the requests with an error.
type FaultAbort struct {
	Status  int32    `json:"status"` // of HTTP; gRPC's callers get what it stands for
	Percent *float64 `json:"percent,omitempty"`
}

// Bounds of a FaultInjection.
const (
	MaxFaultDelay   = 10 * time.Minute // proxies refuse more (destination/api)
	MaxFaultCallers = 64
	// MaxFault bounds how far off its end may be: one that was forgotten is over in a week.
	MaxFault = 7 * 24 * time.Hour

	// million is what a share of a fault is of.
	million      = 1_000_000
	leastPercent = 100.0 / million
)

// Share is a percentage as a share of a million requests. Nothing is all of them.
func Share(percent *float64) uint32 {
	if percent == nil {
		return million
	}
	return uint32(math.Round(*percent * million / 100))
}

// Default has nothing to fill: what may be left out means nothing, or all.
func (f *FaultInjection) Default() {}

// Validate returns everything that is wrong with a fault, each error with the path of its field.
func (f *FaultInjection) Validate() field.ErrorList {
	spec := field.NewPath("spec")
	refs, from := spec.Child("targetRefs"), spec.Child("from")
	errs := atMost(refs, len(f.Spec.TargetRefs), maxTargets)
	for i := range f.Spec.TargetRefs {
		errs = append(errs, f.Spec.TargetRefs[i].validate(refs.Index(i))...)
	}
	errs = append(errs, validateMatch(spec.Child("match"), f.Spec.Match)...)
	errs = append(errs, atMost(from, len(f.Spec.From), MaxFaultCallers)...)
	for i, c := range f.Spec.From {
		errs = append(errs, c.validate(from.Index(i))...)
	}
	if f.Spec.Delay == nil && f.Spec.Abort == nil {
		errs = append(errs, field.Required(spec, doesNothing))
	}
	errs = append(errs, f.Spec.Delay.validate(spec.Child("delay"))...)
	errs = append(errs, f.Spec.Abort.validate(spec.Child("abort"))...)
	return append(errs, validateUntil(spec.Child("until"), f.Spec.Until)...)
}

const doesNothing = "set delay, abort, or both"

func (c *FaultCaller) validate(path *field.Path) field.ErrorList {
	errs := validateLabel(path.Child("namespace"), c.Namespace)
	if c.ServiceAccount == "" {
		return errs
	}
	for _, problem := range validation.IsDNS1123Subdomain(c.ServiceAccount) {
		errs = append(errs, field.Invalid(path.Child("serviceAccount"), c.ServiceAccount, problem))
	}
	return errs
}

func validateUntil(path *field.Path, until metav1.Time) field.ErrorList {
	if until.IsZero() {
		return field.ErrorList{field.Required(path,
			"when it ends by itself, such as 2030-01-31T12:00:00Z")}
	}
	return nil
}

func (d *FaultDelay) validate(path *field.Path) field.ErrorList {
	if d == nil {
		return nil
	}
	errs := validatePercent(path.Child("percent"), d.Percent)
	if d.Duration == "" {
		return append(errs, field.Required(path.Child("duration"), "such as 250ms"))
	}
	return append(errs, validateDuration(
		path.Child("duration"), d.Duration, time.Millisecond, MaxFaultDelay)...)
}

func (a *FaultAbort) validate(path *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	errs := validatePercent(path.Child("percent"), a.Percent)
	if a.Status < 400 || a.Status > 599 {
		errs = append(errs, field.Invalid(path.Child("status"), a.Status,
			"must be an error's HTTP status, 400 to 599"))
	}
	return errs
}

func validatePercent(path *field.Path, percent *float64) field.ErrorList {
	if percent == nil || *percent >= leastPercent && *percent <= 100 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, *percent,
		fmt.Sprintf("must be between %g and 100", leastPercent))}
}
