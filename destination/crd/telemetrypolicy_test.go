package crd

import (
	"reflect"
	"strings"
	"testing"
)

func telemetryOf(change func(*TelemetryPolicySpec)) *TelemetryPolicy {
	one := int64(1)
	p := &TelemetryPolicy{Spec: TelemetryPolicySpec{
		TargetRefs: []TelemetryTarget{{Kind: TargetNamespace, Name: "shop"}},
		Selector:   &WorkloadSelector{MatchLabels: map[string]string{"app": "web"}},
		AccessLog:  &AccessLogSettings{SampleRate: &Fraction{Numerator: &one}},
		Tracing: &TracingSettings{Provider: &TracingProvider{Address: "jaeger.obs:4317"},
			KeepSlow: "1s"}}}
	if change != nil {
		change(&p.Spec)
	}
	p.Default()
	return p
}

func TestTelemetryPoliciesAreValidated(t *testing.T) {
	of := func(n int64) *int64 { return &n }
	for want, change := range map[string]func(*TelemetryPolicySpec){
		"":                          nil,
		"spec.targetRefs: Required": func(s *TelemetryPolicySpec) { s.TargetRefs = nil },
		"spec.targetRefs: Too many": func(s *TelemetryPolicySpec) {
			s.TargetRefs = append(s.TargetRefs, s.TargetRefs...)
		},
		"spec.targetRefs[0].kind":  func(s *TelemetryPolicySpec) { s.TargetRefs[0].Kind = "Pod" },
		"spec.targetRefs[0].group": func(s *TelemetryPolicySpec) { s.TargetRefs[0].Group = "a" },
		"spec: Required value: set accessLog, tracing, or both": func(s *TelemetryPolicySpec) {
			s.AccessLog, s.Tracing = nil, nil
		},
		"spec.selector.matchLabels: Required": func(s *TelemetryPolicySpec) {
			s.Selector.MatchLabels = nil
		},
		"spec.selector.matchLabels[a b]": func(s *TelemetryPolicySpec) {
			s.Selector.MatchLabels = map[string]string{"a b": "c"}
		},
		"spec.accessLog.mode":   func(s *TelemetryPolicySpec) { s.AccessLog.Mode = "On" },
		"spec.accessLog.format": func(s *TelemetryPolicySpec) { s.AccessLog.Format = "XML" },
		"spec.accessLog.filter": func(s *TelemetryPolicySpec) { s.AccessLog.Filter = "None" },
		"spec.accessLog.linesPerSecond": func(s *TelemetryPolicySpec) {
			s.AccessLog.LinesPerSecond = MaxLogLines + 1
		},
		"spec.accessLog.sampleRate.numerator": func(s *TelemetryPolicySpec) {
			s.AccessLog.SampleRate.Numerator = of(101)
		},
		"spec.accessLog.sampleRate.numerator: Required": func(s *TelemetryPolicySpec) {
			s.AccessLog.SampleRate.Numerator = nil
		},
		"spec.accessLog.sampleRate.denominator": func(s *TelemetryPolicySpec) {
			s.AccessLog.SampleRate.Denominator = of(0)
		},
		"spec.tracing.samplingRate.numerator": func(s *TelemetryPolicySpec) {
			s.Tracing.SamplingRate = &Fraction{of(3), of(2)}
		},
		"spec.tracing.provider.address": func(s *TelemetryPolicySpec) {
			s.Tracing.Provider.Address = "jaeger.obs"
		},
		"spec.tracing.keepSlow": func(s *TelemetryPolicySpec) { s.Tracing.KeepSlow = "2h" },
	} {
		err := telemetryOf(change).Validate().ToAggregate()
		if want == "" && err != nil || want != "" && (err == nil ||
			!strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestTelemetrySchemaHasTheFieldsOfTheTypes(t *testing.T) {
	root := TelemetryPolicyCRD().Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
	sameFields(t, "spec", reflect.TypeFor[TelemetryPolicySpec](), root["spec"], 0)
}

func TestFractions(t *testing.T) {
	none, five, thousand := int64(0), int64(5), int64(1000)
	for _, tt := range []struct {
		f    Fraction
		n, d uint32
	}{{Fraction{Numerator: &five}, 5, 100}, {Fraction{&none, &thousand}, 0, 1000}} {
		if n, d := tt.f.Parts(); n != tt.n || d != tt.d {
			t.Errorf("it is %d of %d, want %d of %d", n, d, tt.n, tt.d)
		}
	}
}
