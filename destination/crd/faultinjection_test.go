package crd

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func faultOf(change func(*FaultInjectionSpec)) *FaultInjection {
	f := &FaultInjection{Spec: FaultInjectionSpec{
		TargetRefs: []ServiceReference{{Kind: TargetService, Name: "web"}},
		Abort:      &FaultAbort{Status: 503}, Until: metav1.NewTime(time.Unix(1000, 0))}}
	if change != nil {
		change(&f.Spec)
	}
	return f
}

func TestFaultsAreValidated(t *testing.T) {
	of := func(p float64) *float64 { return &p }
	for want, change := range map[string]func(*FaultInjectionSpec){
		"":           nil,
		"spec.until": func(s *FaultInjectionSpec) { s.Until = metav1.Time{} },
		"spec: Required value: set delay, abort, or both": func(s *FaultInjectionSpec) {
			s.Abort = nil
		},
		"spec.abort.status":   func(s *FaultInjectionSpec) { s.Abort.Status = 200 },
		"spec.abort.percent":  func(s *FaultInjectionSpec) { s.Abort.Percent = of(0.00001) },
		"spec.delay.percent":  func(s *FaultInjectionSpec) { s.Delay = &FaultDelay{"1s", of(101)} },
		"spec.delay.duration": func(s *FaultInjectionSpec) { s.Delay = &FaultDelay{"11m", nil} },
		"spec.match.path": func(s *FaultInjectionSpec) {
			value := "a"
			s.Match = &gatewayv1.HTTPRouteMatch{Path: &gatewayv1.HTTPPathMatch{Value: &value}}
		},
		"spec.from[1].namespace": func(s *FaultInjectionSpec) {
			s.From = []FaultCaller{{Namespace: "shop"}, {ServiceAccount: "cart"}}
		},
		"spec.targetRefs: Too many": func(s *FaultInjectionSpec) {
			s.TargetRefs = slices.Repeat(s.TargetRefs, 17)
		},
		"spec.targetRefs[0].kind": func(s *FaultInjectionSpec) {
			s.TargetRefs[0].Kind = "Deployment"
		},
		"spec.targetRefs[0].name": func(s *FaultInjectionSpec) {
			s.TargetRefs[0].Name = ""
		},
	} {
		err := faultOf(change).Validate().ToAggregate()
		if want == "" && err != nil || want != "" && (err == nil ||
			!strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A fault of routes alone names no Service.
func TestAFaultNeedsNoTargets(t *testing.T) {
	f := faultOf(func(s *FaultInjectionSpec) { s.TargetRefs = nil })
	if err := f.Validate().ToAggregate(); err != nil {
		t.Error(err)
	}
}

func TestShare(t *testing.T) {
	for percent, want := range map[float64]uint32{
		100: 1_000_000, 0.0001: 1, 10: 100_000, 33.3333: 333_333, 0.29: 2900,
	} {
		if got := Share(&percent); got != want {
			t.Errorf("%v percent are %d of a million, want %d", percent, got, want)
		}
	}
	if Share(nil) != 1_000_000 {
		t.Error("without a percentage it is not all")
	}
}
