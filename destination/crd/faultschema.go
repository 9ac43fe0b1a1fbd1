package crd

import (
	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// FaultInjectionCRD returns the CustomResourceDefinition of FaultInjection. The API server then
// refuses by itself, naming the field, what Validate refuses.
func FaultInjectionCRD() *apix.CustomResourceDefinition {
	return attachedKind{
		kind: FaultInjectionKind, plural: FaultInjections, short: "fi", inherits: "Direct",
		what: "Harm to requests on purpose, for a while.", spec: faultSpecSchema(),
		columns: []apix.CustomResourceColumnDefinition{
			{Name: "Delay", Type: "string", JSONPath: ".spec.delay.duration"},
			{Name: "Abort", Type: "integer", JSONPath: ".spec.abort.status"},
			{Name: "Until", Type: "date", JSONPath: ".spec.until"},
		},
	}.definition()
}

func faultSpecSchema() schemaProps {
	spec := object("", props{
		"targetRefs": list("Services of the fault's own namespace; none where only the rules of "+
			"routes are meant that refer to it.", maxTargets, serviceReferenceSchema()),
		"match": httpMatchSchema(),
		"from": list("Whose requests; without it, everybody's.", MaxFaultCallers,
			faultCallerSchema()),
		"delay": faultDelaySchema(),
		"abort": faultAbortSchema(),
		"until": {Type: "string", Format: "date-time",
			Description: "When it ends by itself, such as 2030-01-31T12:00:00Z."},
	}, "until")
	spec.XValidations = []apix.ValidationRule{
		rule("has(self.delay) || has(self.abort)", doesNothing),
	}
	return spec
}

func faultCallerSchema() schemaProps {
	namespace, account := text("", 63), text("Without it, all of the namespace.", 253)
	namespace.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	account.Pattern = `^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	return object("", props{"namespace": namespace, "serviceAccount": account}, "namespace")
}

func percentSchema() schemaProps {
	return number("Of the requests; without it, all.", leastPercent, 100)
}

func faultDelaySchema() schemaProps {
	one := int64(1)
	duration := durationSchema("Such as 250ms.", "1ms", MaxFaultDelay.String())
	duration.MinLength = &one
	return object("Holds a share of the requests back.",
		props{"duration": duration, "percent": percentSchema()}, "duration")
}

func faultAbortSchema() schemaProps {
	least, most := 400.0, 599.0
	status := schemaProps{Type: "integer", Format: "int32", Minimum: &least, Maximum: &most,
		Description: "Of HTTP; callers of gRPC get the status that it stands for."}
	return object("Answers a share of the requests with an error.",
		props{"status": status, "percent": percentSchema()}, "status")
}
