package crd

import (
	"fmt"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// ServiceLevelObjectiveCRD returns the CustomResourceDefinition of ServiceLevelObjective. The API
// server then refuses by itself, naming the field, what Validate refuses.
func ServiceLevelObjectiveCRD() *apix.CustomResourceDefinition {
	return attachedKind{
		kind: ServiceLevelObjectiveKind, plural: ServiceLevelObjectives, short: "slo",
		inherits: "Direct", what: "Which part of the requests of a Service must go well.",
		spec: objectiveSpecSchema(), target: ".spec.targetRef.name", watched: true,
		columns: []apix.CustomResourceColumnDefinition{
			{Name: "Route", Type: "string", JSONPath: ".spec.route"},
			{Name: "Objective", Type: "string", JSONPath: ".spec.objective"},
			{Name: "Window", Type: "string", JSONPath: ".spec.window"},
			{Name: "Latency", Type: "string", JSONPath: ".spec.latency"},
		},
	}.definition()
}

func objectiveSpecSchema() schemaProps {
	name := text("", 63)
	name.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	objective := text(`Per cent of the requests, such as "99.9".`, 7,
		rule(fmt.Sprintf(`self.matches('%s') && double(self) >= %d.0`, objectivePattern,
			minObjective), needsObjective))
	window := text("Whole days over which it is promised.", 3,
		rule(fmt.Sprintf(`self == '' || self.matches('%s')`, daysPattern), needsDays))
	window.Default = raw(defaultObjectiveWindow)
	return object("", props{
		"targetRef": object("A Service in the objective's own namespace.", props{
			"group": oneOf("", "", "core"), "kind": oneOf("", TargetService), "name": name,
		}, "kind", "name"),
		"route": text("A route of it, by the name that `meshctl viz routes` shows; without it, "+
			"all requests.", MaxRouteName),
		"objective": objective,
		"window":    window,
		"latency": durationSchema("What a request that goes well takes less than, such as 250ms; "+
			"without it, any time.", minObjectiveLatency.String(), maxObjectiveLatency.String()),
	}, "targetRef", "objective")
}
