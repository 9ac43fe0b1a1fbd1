package crd

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func objectiveOf(change func(*ServiceLevelObjectiveSpec)) *ServiceLevelObjective {
	o := &ServiceLevelObjective{Spec: ServiceLevelObjectiveSpec{
		TargetRef: ObjectiveTarget{Kind: TargetService, Name: "checkout"}, Route: "pay",
		Objective: "99.9", Latency: "250ms"}}
	if change != nil {
		change(&o.Spec)
	}
	o.Default()
	return o
}

func TestObjectivesAreValidated(t *testing.T) {
	for want, changes := range map[string][]func(*ServiceLevelObjectiveSpec){
		"": {
			nil,
			func(s *ServiceLevelObjectiveSpec) { s.Route, s.Latency = "", "" },
			func(s *ServiceLevelObjectiveSpec) { s.TargetRef.Group = "core" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective, s.Window = "50", "1d" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective, s.Window = "99.9999", "90d" },
		},
		"spec.targetRef.kind: Unsupported value": {
			func(s *ServiceLevelObjectiveSpec) { s.TargetRef.Kind = "Deployment" },
		},
		"spec.targetRef.group": {
			func(s *ServiceLevelObjectiveSpec) { s.TargetRef.Group = "apps" },
		},
		"spec.targetRef.name": {
			func(s *ServiceLevelObjectiveSpec) { s.TargetRef.Name = "" },
			func(s *ServiceLevelObjectiveSpec) { s.TargetRef.Name = "checkout.shop" },
		},
		`spec.objective: Invalid value: "100": must be per cent from 50 to 99.9999`: {
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "100" },
		},
		"spec.objective: Invalid": {
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "0.999" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "99.99999" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "99,9" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "49.9" },
			func(s *ServiceLevelObjectiveSpec) { s.Objective = "99.9%" },
		},
		"spec.window: Invalid": {
			func(s *ServiceLevelObjectiveSpec) { s.Window = "720h" },
			func(s *ServiceLevelObjectiveSpec) { s.Window = "91d" },
			func(s *ServiceLevelObjectiveSpec) { s.Window = "0d" },
		},
		"spec.latency: Invalid": {
			func(s *ServiceLevelObjectiveSpec) { s.Latency = "250" },
			func(s *ServiceLevelObjectiveSpec) { s.Latency = "999us" },
			func(s *ServiceLevelObjectiveSpec) { s.Latency = "61m" },
		},
		"spec.route: Too long": {
			func(s *ServiceLevelObjectiveSpec) { s.Route = strings.Repeat("a", MaxRouteName+1) },
		},
	} {
		for i, change := range changes {
			err := objectiveOf(change).Validate().ToAggregate()
			if want == "" && err != nil || want != "" && (err == nil ||
				!strings.Contains(err.Error(), want)) {
				t.Errorf("%d: %v, want %q", i, err, want)
			}
		}
	}
}

func TestObjectivesAreRead(t *testing.T) {
	const text = "apiVersion: tulle.dev/v1alpha1\nkind: ServiceLevelObjective\n" +
		"metadata: {name: a}\nspec:\n  targetRef: {kind: Service, name: web}\n  objective: "
	for value, want := range map[string]string{
		`"99.95"`: "", "99.95": "of type string: put it in quotes", "[]": "web.yaml:6: ",
	} {
		docs, err := Documents("web.yaml", []byte(text+value))
		if err != nil {
			t.Fatal(err)
		}
		o, err := docs[0].ServiceLevelObjective()
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", value, err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		s := &o.Spec
		if s.Ratio() != 0.9995 || s.Days() != 30*24*time.Hour || s.MaxLatency() != 0 {
			t.Errorf("%v of %s within %s", s.Ratio(), s.Days(), s.MaxLatency())
		}
	}
}

func TestObjectiveSchemaHasTheFieldsOfTheTypes(t *testing.T) {
	root := ServiceLevelObjectiveCRD().Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
	sameFields(t, "spec", reflect.TypeFor[ServiceLevelObjectiveSpec](), root["spec"], 0)
}
