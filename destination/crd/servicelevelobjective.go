package crd

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// How ServiceLevelObjective is called on the outside.
const (
	ServiceLevelObjectiveKind = "ServiceLevelObjective"
	ServiceLevelObjectives    = "servicelevelobjectives"
)

// ServiceLevelObjectiveResource is what a dynamic client asks for.
func ServiceLevelObjectiveResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version,
		Resource: ServiceLevelObjectives}
}

// ServiceLevelObjective says which part of the requests of a Service, or of a route of it, must go
// well. It changes nothing about them: viz counts, and says how the objective stands.
//
// +kubebuilder:object:root=true
type ServiceLevelObjective struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ServiceLevelObjectiveSpec `json:"spec"`
	Status gatewayv1.PolicyStatus    `json:"status,omitempty"`
}

// ServiceLevelObjectiveList is what the API server answers a list with.
//
// +kubebuilder:object:root=true
type ServiceLevelObjectiveList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ServiceLevelObjective `json:"items"`
}

// ServiceLevelObjectiveSpec is what users write.
type ServiceLevelObjectiveSpec struct {
	TargetRef ObjectiveTarget `json:"targetRef"`
	Route     string          `json:"route,omitempty"`   // as viz calls it; empty: all requests
	Objective string          `json:"objective"`         // per cent: "99.9"
	Window    string          `json:"window,omitempty"`  // whole days: 30d
	Latency   string          `json:"latency,omitempty"` // what goes well takes less; empty: any
}

// ObjectiveTarget is a Service in the objective's own namespace.
type ObjectiveTarget struct {
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"` // Service
	Name  string `json:"name"`
}

// Bounds of a ServiceLevelObjective.
const (
	minObjective = 50 // per cent
	// minObjectiveLatency is about what a request through two proxies takes.
	minObjectiveLatency = time.Millisecond
	maxObjectiveLatency = time.Hour

	defaultObjectiveWindow = "30d"

	objectivePattern = `^[0-9]{2}([.][0-9]{1,4})?$`
	daysPattern      = `^([1-9]|[1-8][0-9]|90)d$`

	needsObjective = `must be per cent from 50 to 99.9999, in quotes, such as "99.9"`
	needsDays      = "must be whole days from 1d to 90d, such as 30d"
)

// Default fills what a user may leave out. The API server does the same from the
// CustomResourceDefinition.
func (o *ServiceLevelObjective) Default() {
	setDefault(&o.Spec.Window, defaultObjectiveWindow)
}

// Ratio is the objective, 0 to 1, of a valid one.
func (s *ServiceLevelObjectiveSpec) Ratio() float64 {
	const digits = 1e4 // of per cent, so that 99.9 is what 0.999 is
	percent, _ := strconv.ParseFloat(s.Objective, 64)
	return math.Round(percent*digits) / (100 * digits)
}

// Days are the window of a valid one.
func (s *ServiceLevelObjectiveSpec) Days() time.Duration {
	days, _ := strconv.Atoi(strings.TrimSuffix(s.Window, "d"))
	return time.Duration(days) * 24 * time.Hour
}

// MaxLatency is the latency of a valid one; 0: none is asked for.
func (s *ServiceLevelObjectiveSpec) MaxLatency() time.Duration {
	d, _ := time.ParseDuration(s.Latency)
	return d
}

// Validate returns everything that is wrong with an objective, each error with the path of its
// field.
func (o *ServiceLevelObjective) Validate() field.ErrorList {
	path, s := field.NewPath("spec"), &o.Spec
	errs := s.TargetRef.validate(path.Child("targetRef"))
	if utf8.RuneCountInString(s.Route) > MaxRouteName { // as the API server counts
		errs = append(errs, field.TooLong(path.Child("route"), "", MaxRouteName))
	}
	if !objectiveForm.MatchString(s.Objective) || s.Ratio() < minObjective/100.0 {
		errs = append(errs, field.Invalid(path.Child("objective"), s.Objective, needsObjective))
	}
	if !daysForm.MatchString(s.Window) {
		errs = append(errs, field.Invalid(path.Child("window"), s.Window, needsDays))
	}
	return append(errs, validateDuration(path.Child("latency"), s.Latency, minObjectiveLatency,
		maxObjectiveLatency)...)
}

var (
	objectiveForm = regexp.MustCompile(objectivePattern)
	daysForm      = regexp.MustCompile(daysPattern)
)

func (t *ObjectiveTarget) validate(path *field.Path) (errs field.ErrorList) {
	if t.Group != "" && t.Group != "core" {
		errs = append(errs, field.NotSupported(path.Child("group"), t.Group, []string{"", "core"}))
	}
	if t.Kind != TargetService {
		errs = append(errs, field.NotSupported(path.Child("kind"), t.Kind, []string{TargetService}))
	}
	return append(errs, validateLabel(path.Child("name"), t.Name)...)
}
