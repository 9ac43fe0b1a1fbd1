package crd

import (
	"fmt"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// TelemetryPolicyCRD returns the CustomResourceDefinition of TelemetryPolicy. The API server then
// refuses by itself, naming the field, what Validate refuses, but for names that no label can have:
// a schema has no word for the keys of a map.
func TelemetryPolicyCRD() *apix.CustomResourceDefinition {
	return attachedKind{
		kind: TelemetryPolicyKind, plural: TelemetryPolicies, short: "tp", inherits: "Inherited",
		what: "What the proxies of workloads tell of requests.", spec: telemetrySpecSchema(),
		columns: []apix.CustomResourceColumnDefinition{
			{Name: "Access Log", Type: "string", JSONPath: ".spec.accessLog.mode"},
			{Name: "Tracing", Type: "string", JSONPath: ".spec.tracing.mode"},
		},
	}.definition()
}

func telemetrySpecSchema() schemaProps {
	spec := object("", props{
		"targetRefs": some(list("The Namespace that the policy is in.", 1,
			telemetryTargetSchema())),
		"selector":  selectorSchema(),
		"accessLog": accessLogSchema(),
		"tracing":   tracingSchema(),
	}, "targetRefs")
	spec.XValidations = []apix.ValidationRule{
		rule("has(self.accessLog) || has(self.tracing)", telemetrySaysNothing),
	}
	return spec
}

func telemetryTargetSchema() schemaProps {
	name := text("", 63)
	name.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	return object("", props{
		"group": oneOf("", "", "core"), "kind": oneOf("", TargetNamespace), "name": name,
	}, "kind", "name")
}

func selectorSchema() schemaProps {
	one, most, value := int64(1), int64(MaxSelectLabels), text("", 63)
	value.Pattern = `^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$`
	labels := schemaProps{Type: "object", MinProperties: &one, MaxProperties: &most,
		AdditionalProperties: &apix.JSONSchemaPropsOrBool{Allows: true, Schema: &value}}
	return object("The pods that have all of these labels; without it, all of the Namespace.",
		props{"matchLabels": labels}, "matchLabels")
}

func modeSchema() schemaProps {
	out := oneOf("", string(TelemetryEnabled), string(TelemetryDisabled))
	out.Default = raw(TelemetryEnabled)
	return out
}

func accessLogSchema() schemaProps {
	format := oneOf("JSON, or Text: as Istio has Envoy write it.", string(AccessLogJSON),
		string(AccessLogText))
	format.Default = raw(AccessLogJSON)
	filter := oneOf("All, or Failures: what does not go plainly well.", string(AccessLogAll),
		string(AccessLogFailures))
	filter.Default = raw(AccessLogAll)
	zero, most := 0.0, float64(MaxLogLines)
	return object("A line for each request and each opaque connection, on the proxy's standard "+
		"output.", props{
		"mode":   modeSchema(),
		"format": format,
		"filter": filter,
		"sampleRate": fractionSchema(
			"Of what goes plainly well; without it, all. What does not always has a line."),
		"linesPerSecond": {Type: "integer", Format: "int64", Minimum: &zero, Maximum: &most,
			Description: "Of one proxy, and as many more of what does not go plainly well; 0: " +
				"the proxy's default."},
	})
}

func fractionSchema(description string) schemaProps {
	zero, one, most := 0.0, 1.0, float64(MaxFraction)
	fraction := object(description, props{
		"numerator": {Type: "integer", Format: "int64", Minimum: &zero, Maximum: &most},
		"denominator": {Type: "integer", Format: "int64", Minimum: &one, Maximum: &most,
			Default: raw(defaultDenominator)},
	}, "numerator")
	fraction.XValidations = []apix.ValidationRule{rule(
		fmt.Sprintf("self.numerator <= (has(self.denominator) ? self.denominator : %d)",
			defaultDenominator), "numerator: "+notAWhole)}
	return fraction
}

func tracingSchema() schemaProps {
	address := text("HOST:PORT.", maxAuthority,
		rule(fmt.Sprintf(`!self.matches('%s') || (self.contains(':') && `+
			`int(self.split(':')[1]) >= 1 && int(self.split(':')[1]) <= 65535)`, authorityPattern),
			needsPort))
	address.Pattern = authorityPattern
	slow := durationSchema("Such as 500ms.", "1ms", maxSlow.String())
	return object("The spans of requests.", props{
		"mode": modeSchema(),
		"provider": object("Who takes them, by OTLP.", props{"address": address},
			"address"),
		"samplingRate": fractionSchema("Of the traces that begin at the proxy."),
		"keepFailed": {Type: "boolean",
			Description: "Whether a request that does not go plainly well has its span anyway."},
		"keepSlow": slow,
	})
}
