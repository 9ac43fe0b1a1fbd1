package crd

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// How RateLimitPolicy is called on the outside.
const (
	RateLimitPolicyKind = "RateLimitPolicy"
	RateLimitPolicies   = "ratelimitpolicies"
)

// RateLimitPolicyResource is what a dynamic client asks for.
func RateLimitPolicyResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: RateLimitPolicies}
}

// RateLimitPolicy bounds how often Services are called, or what a route of theirs matches. The
// proxies of the pods behind them hold requests against it, whoever calls.
//
// +kubebuilder:object:root=true
type RateLimitPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   RateLimitPolicySpec    `json:"spec"`
	Status gatewayv1.PolicyStatus `json:"status,omitempty"`
}

// RateLimitPolicyList is what the API server answers a list with.
//
// +kubebuilder:object:root=true
type RateLimitPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []RateLimitPolicy `json:"items"`
}

// RateLimitPolicySpec is what users write.
type RateLimitPolicySpec struct {
	TargetRefs []ServiceReference `json:"targetRefs"`
	Limits     []RateLimit        `json:"limits"`           // a request is held against all of them
	DryRun     bool               `json:"dryRun,omitempty"` // count what they would refuse
}

// ServiceReference names a Service in the policy's own namespace, or one port of it. That of a
// RateLimitPolicy may name a route of the Gateway API, or one rule of it.
type ServiceReference struct {
	Group       string `json:"group,omitempty"`
	Kind        string `json:"kind"` // Service, HTTPRoute or GRPCRoute
	Name        string `json:"name"`
	SectionName string `json:"sectionName,omitempty"` // the port's name, or the rule's; empty: all
}

// IsRoute reports whether it names a route.
func (r *ServiceReference) IsRoute() bool { return r.Kind == HTTPRoute || r.Kind == GRPCRoute }

// Target is the same as the other kinds of policies have it.
func (r *ServiceReference) Target() *TrafficTarget {
	return &TrafficTarget{
		Group: r.Group, Kind: r.Kind, Name: r.Name, SectionName: r.SectionName,
	}
}

// RateLimit is so many requests in a window.
type RateLimit struct {
	Name     string                    `json:"name"`
	Match    *gatewayv1.HTTPRouteMatch `json:"match,omitempty"` // which requests; absent: all
	By       []RateKey                 `json:"by,omitempty"`    // bucket by bucket; none: one
	Requests int64                     `json:"requests"`
	Window   string                    `json:"window"`          // a Go duration
	Burst    int64                     `json:"burst,omitempty"` // at once; 0: requests
	Mode     RateMode                  `json:"mode,omitempty"`
}

// RateKey is one of its fields: something in which requests of one bucket are alike.
type RateKey struct {
	Identity *RateIdentity `json:"identity,omitempty"`
	Header   string        `json:"header,omitempty"` // its value; requests without it are alike
	Path     *RatePath     `json:"path,omitempty"`
}

// RateIdentity is the caller's SPIFFE ID. It has nothing to say. Callers without one are alike.
type RateIdentity struct{}

// RatePath is the path without the query. It has nothing to say.
type RatePath struct{}

// RateMode says whose requests are counted together.
type RateMode string

// The modes.
const (
	RateShared     RateMode = "Shared"     // each of a Service's ready pods admits an equal share
	RatePerReplica RateMode = "PerReplica" // each pod admits all of it
)

// Default fills what a user may leave out. The API server does the same from the
// CustomResourceDefinition.
func (p *RateLimitPolicy) Default() {
	for i := range p.Spec.Limits {
		if l := &p.Spec.Limits[i]; l.Mode == "" {
			l.Mode = RateShared
		}
	}
}

// Validate returns everything that is wrong with a policy, each error with the path of its field.
func (p *RateLimitPolicy) Validate() field.ErrorList {
	refs, limits := field.NewPath("spec", "targetRefs"), field.NewPath("spec", "limits")
	errs := between(refs, len(p.Spec.TargetRefs), 1, maxTargets)
	for i := range p.Spec.TargetRefs {
		errs = append(errs, p.Spec.TargetRefs[i].validateLimited(refs.Index(i))...)
	}
	errs = append(errs, between(limits, len(p.Spec.Limits), 1, MaxRateLimits)...)
	names := map[string]bool{}
	for i := range p.Spec.Limits {
		l, path := &p.Spec.Limits[i], limits.Index(i)
		errs = append(errs, l.validate(path)...)
		if names[l.Name] {
			errs = append(errs, field.Duplicate(path.Child("name"), l.Name))
		}
		names[l.Name] = true
	}
	return errs
}

func between(path *field.Path, n, least, most int) field.ErrorList {
	if n < least {
		return field.ErrorList{field.Required(path, fmt.Sprintf("must have at least %d", least))}
	}
	return atMost(path, n, most)
}

// validateLimited is of what a RateLimitPolicy may name.
func (r *ServiceReference) validateLimited(path *field.Path) (errs field.ErrorList) {
	if !r.IsRoute() {
		return r.validate(path)
	}
	if r.Group != gatewayv1.GroupName {
		errs = append(errs, field.NotSupported(
			path.Child("group"), r.Group, []string{gatewayv1.GroupName}))
	}
	for _, problem := range validation.IsDNS1123Subdomain(r.Name) {
		errs = append(errs, field.Invalid(path.Child("name"), r.Name, problem))
	}
	if r.SectionName == "" {
		return errs
	}
	for _, problem := range validation.IsDNS1123Subdomain(r.SectionName) {
		errs = append(errs, field.Invalid(path.Child("sectionName"), r.SectionName, problem))
	}
	return errs
}

func (r *ServiceReference) validate(path *field.Path) (errs field.ErrorList) {
	if !isService(gatewayv1.Group(r.Group), gatewayv1.Kind(r.Kind)) {
		errs = append(errs, field.NotSupported(path.Child("kind"), r.Kind, []string{"Service"}))
	}
	errs = append(errs, validateLabel(path.Child("name"), r.Name)...)
	if r.SectionName != "" {
		errs = append(errs, validateLabel(path.Child("sectionName"), r.SectionName)...)
	}
	return errs
}

func (l *RateLimit) validate(path *field.Path) (errs field.ErrorList) {
	switch {
	case l.Name == "":
		errs = append(errs, field.Required(path.Child("name"), "metrics name the limit by it"))
	case utf8.RuneCountInString(l.Name) > MaxLimitName:
		errs = append(errs, field.TooLong(path.Child("name"), "", MaxLimitName))
	}
	if l.Requests < 1 || l.Requests > MaxRateRequests {
		errs = append(errs, outside(path.Child("requests"), l.Requests, 1))
	}
	if l.Burst < 0 || l.Burst > MaxRateRequests {
		errs = append(errs, outside(path.Child("burst"), l.Burst, 0))
	}
	if l.Window == "" {
		errs = append(errs, field.Required(path.Child("window"), "such as 1s or 1m"))
	}
	errs = append(errs,
		validateDuration(path.Child("window"), l.Window, MinRateWindow, MaxRateWindow)...)
	if modes := []RateMode{"", RateShared, RatePerReplica}; !slices.Contains(modes, l.Mode) {
		errs = append(errs, field.NotSupported(path.Child("mode"), l.Mode, modes[1:]))
	}
	errs = append(errs, validateMatch(path.Child("match"), l.Match)...)
	return append(errs, validateKeys(path.Child("by"), l.By)...)
}

func outside(path *field.Path, n, least int64) *field.Error {
	return field.Invalid(path, n, fmt.Sprintf("must be %d to %d", least, MaxRateRequests))
}

func validateKeys(path *field.Path, keys []RateKey) field.ErrorList {
	errs := atMost(path, len(keys), MaxRateKeys)
	for i, k := range keys {
		set := 0
		for _, is := range []bool{k.Identity != nil, k.Header != "", k.Path != nil} {
			if is {
				set++
			}
		}
		if set != 1 {
			errs = append(errs, field.Required(path.Index(i), oneKey))
		}
		errs = append(errs, validateKeyHeader(path.Index(i).Child("header"), k.Header)...)
	}
	return errs
}

func validateKeyHeader(path *field.Path, name string) field.ErrorList {
	switch {
	case name != "" && !isToken(name):
		return field.ErrorList{field.Invalid(path, name, "must be a header's name")}
	case strings.HasPrefix(strings.ToLower(name), reservedHeader):
		return field.ErrorList{field.Forbidden(path, meshHeader)}
	}
	return nil
}

const oneKey = "set one of identity, header, path"

// WindowLength is the window as a duration; 0 where it is none.
func (l *RateLimit) WindowLength() time.Duration {
	d, err := time.ParseDuration(l.Window)
	if err != nil {
		return 0
	}
	return d
}
