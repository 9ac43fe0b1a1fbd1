package crd

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// How TelemetryPolicy is called on the outside.
const (
	TelemetryPolicyKind = "TelemetryPolicy"
	TelemetryPolicies   = "telemetrypolicies"
)

// TelemetryPolicyResource is what a dynamic client asks for.
func TelemetryPolicyResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: TelemetryPolicies}
}

// TelemetryPolicy says what the proxies of a namespace's workloads, or of some of them, tell of the
// requests that they carry. Where Gateway API's XTelemetryPolicy has a word (GEP-4768), it is that.
//
// +kubebuilder:object:root=true
type TelemetryPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TelemetryPolicySpec    `json:"spec"`
	Status gatewayv1.PolicyStatus `json:"status,omitempty"`
}

// TelemetryPolicyList is what the API server answers a list with.
//
// +kubebuilder:object:root=true
type TelemetryPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []TelemetryPolicy `json:"items"`
}

// TelemetryPolicySpec has a section for each thing that it may say. What it does not say, a policy
// that is about more says, or else nobody.
type TelemetryPolicySpec struct {
	TargetRefs []TelemetryTarget  `json:"targetRefs"`         // the policy's own Namespace
	Selector   *WorkloadSelector  `json:"selector,omitempty"` // absent: all pods of it
	AccessLog  *AccessLogSettings `json:"accessLog,omitempty"`
	Tracing    *TracingSettings   `json:"tracing,omitempty"`
}

// TelemetryTarget is the Namespace that the policy is in.
type TelemetryTarget struct {
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"` // Namespace
	Name  string `json:"name"`
}

// WorkloadSelector names pods by their labels.
type WorkloadSelector struct {
	MatchLabels map[string]string `json:"matchLabels"` // all of them
}

// TelemetryMode says whether something is done.
type TelemetryMode string

// The modes.
const (
	TelemetryEnabled  TelemetryMode = "Enabled"
	TelemetryDisabled TelemetryMode = "Disabled"
)

// AccessLogSettings are a line for each request and each opaque connection.
type AccessLogSettings struct {
	Mode       TelemetryMode   `json:"mode,omitempty"`
	Format     AccessLogFormat `json:"format,omitempty"`
	Filter     AccessLogFilter `json:"filter,omitempty"`
	SampleRate *Fraction       `json:"sampleRate,omitempty"` // of what goes well; absent: all
	// Of one proxy, and as many more of what does not go well; 0: the proxy's default.
	LinesPerSecond int64 `json:"linesPerSecond,omitempty"`
}

// AccessLogFormat is the form of a line.
type AccessLogFormat string

// The formats.
const (
	AccessLogJSON AccessLogFormat = "JSON"
	AccessLogText AccessLogFormat = "Text" // as Istio has Envoy write it
)

// AccessLogFilter says what has a line.
type AccessLogFilter string

// The filters.
const (
	AccessLogAll      AccessLogFilter = "All"
	AccessLogFailures AccessLogFilter = "Failures" // what does not go plainly well
)

// Fraction is a share of requests.
type Fraction struct {
	Numerator   *int64 `json:"numerator"`
	Denominator *int64 `json:"denominator,omitempty"` // absent: 100
}

// Parts are the two numbers of a fraction that is valid.
func (f *Fraction) Parts() (numerator, denominator uint32) {
	if f.Denominator == nil {
		return uint32(*f.Numerator), defaultDenominator
	}
	return uint32(*f.Numerator), uint32(*f.Denominator)
}

// TracingSettings are the spans of requests.
type TracingSettings struct {
	Mode         TelemetryMode    `json:"mode,omitempty"`
	Provider     *TracingProvider `json:"provider,omitempty"`
	SamplingRate *Fraction        `json:"samplingRate,omitempty"` // of traces that begin here
	// Whether a request has its span though it was not sampled: where it does not go plainly well,
	// and where it takes at least so long (a Go duration).
	KeepFailed bool   `json:"keepFailed,omitempty"`
	KeepSlow   string `json:"keepSlow,omitempty"`
}

// TracingProvider takes spans by OTLP.
type TracingProvider struct {
	Address string `json:"address"` // HOST:PORT
}

// Bounds of a TelemetryPolicy.
const (
	// MaxFraction bounds a denominator (destination/api has the same).
	MaxFraction = 1_000_000
	// MaxLogLines is what one proxy writes in a second (destination/api has the same).
	MaxLogLines     = 100_000
	MaxSelectLabels = 16

	defaultDenominator = 100
	maxSlow            = time.Hour
)

// Default fills what a user may leave out. The API server does the same from the
// CustomResourceDefinition.
func (p *TelemetryPolicy) Default() {
	if l := p.Spec.AccessLog; l != nil {
		setDefault(&l.Mode, TelemetryEnabled)
		setDefault(&l.Format, AccessLogJSON)
		setDefault(&l.Filter, AccessLogAll)
	}
	if t := p.Spec.Tracing; t != nil {
		setDefault(&t.Mode, TelemetryEnabled)
	}
}

func setDefault[S ~string](s *S, value S) {
	if *s == "" {
		*s = value
	}
}

// Validate returns everything that is wrong with a policy, each error with the path of its field.
func (p *TelemetryPolicy) Validate() field.ErrorList {
	spec := field.NewPath("spec")
	refs := spec.Child("targetRefs")
	errs := between(refs, len(p.Spec.TargetRefs), 1, 1)
	for i := range p.Spec.TargetRefs {
		errs = append(errs, p.Spec.TargetRefs[i].validate(refs.Index(i))...)
	}
	if p.Spec.AccessLog == nil && p.Spec.Tracing == nil {
		errs = append(errs, field.Required(spec, telemetrySaysNothing))
	}
	errs = append(errs, p.Spec.Selector.validate(spec.Child("selector", "matchLabels"))...)
	errs = append(errs, p.Spec.AccessLog.validate(spec.Child("accessLog"))...)
	return append(errs, p.Spec.Tracing.validate(spec.Child("tracing"))...)
}

const telemetrySaysNothing = "set accessLog, tracing, or both"

func (t *TelemetryTarget) validate(path *field.Path) (errs field.ErrorList) {
	if t.Group != "" && t.Group != "core" {
		errs = append(errs, field.NotSupported(path.Child("group"), t.Group, []string{"", "core"}))
	}
	if t.Kind != TargetNamespace {
		errs = append(errs,
			field.NotSupported(path.Child("kind"), t.Kind, []string{TargetNamespace}))
	}
	return append(errs, validateLabel(path.Child("name"), t.Name)...)
}

func (s *WorkloadSelector) validate(path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := between(path, len(s.MatchLabels), 1, MaxSelectLabels)
	for key, value := range s.MatchLabels {
		for _, problem := range slices.Concat(
			validation.IsQualifiedName(key), validation.IsValidLabelValue(value)) {
			errs = append(errs, field.Invalid(path.Key(key), value, problem))
		}
	}
	return errs
}

func (l *AccessLogSettings) validate(path *field.Path) field.ErrorList {
	if l == nil {
		return nil
	}
	errs := validateWord(path.Child("mode"), l.Mode, TelemetryEnabled, TelemetryDisabled)
	errs = append(errs,
		validateWord(path.Child("format"), l.Format, AccessLogJSON, AccessLogText)...)
	errs = append(errs,
		validateWord(path.Child("filter"), l.Filter, AccessLogAll, AccessLogFailures)...)
	if l.LinesPerSecond < 0 || l.LinesPerSecond > MaxLogLines {
		errs = append(errs, field.Invalid(path.Child("linesPerSecond"), l.LinesPerSecond,
			fmt.Sprintf("must be between 0 and %d", MaxLogLines)))
	}
	return append(errs, l.SampleRate.validate(path.Child("sampleRate"))...)
}

// validateWord is for words that may be left out.
func validateWord[S ~string](path *field.Path, got S, words ...S) field.ErrorList {
	if got == "" || slices.Contains(words, got) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, got, words)}
}

func (f *Fraction) validate(path *field.Path) field.ErrorList {
	switch {
	case f == nil:
		return nil
	case f.Numerator == nil:
		return field.ErrorList{field.Required(path.Child("numerator"), "such as 1, of 100")}
	}
	of := int64(defaultDenominator)
	if f.Denominator != nil {
		of = *f.Denominator
	}
	if of < 1 || of > MaxFraction {
		return field.ErrorList{field.Invalid(path.Child("denominator"), of,
			fmt.Sprintf("must be between 1 and %d", MaxFraction))}
	}
	if *f.Numerator < 0 || *f.Numerator > of {
		return field.ErrorList{field.Invalid(path.Child("numerator"), *f.Numerator, notAWhole)}
	}
	return nil
}

const notAWhole = "must be between 0 and the denominator"

func (t *TracingSettings) validate(path *field.Path) field.ErrorList {
	if t == nil {
		return nil
	}
	errs := validateWord(path.Child("mode"), t.Mode, TelemetryEnabled, TelemetryDisabled)
	if t.Provider != nil {
		errs = append(errs, validateAddress(path.Child("provider", "address"),
			t.Provider.Address)...)
	}
	errs = append(errs, t.SamplingRate.validate(path.Child("samplingRate"))...)
	return append(errs,
		validateDuration(path.Child("keepSlow"), t.KeepSlow, time.Millisecond, maxSlow)...)
}

func validateAddress(path *field.Path, address string) field.ErrorList {
	_, port, err := SplitAuthority(address)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(path, address, err.Error())}
	case port == 0:
		return field.ErrorList{field.Invalid(path, address, needsPort)}
	}
	return nil
}

const needsPort = "must be HOST:PORT, such as collector.observability:4317"
