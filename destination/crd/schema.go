package crd

import (
	"encoding/json"
	"fmt"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// CRD returns the CustomResourceDefinition of ServiceProfile. The API server then refuses by
// itself, naming the field, what Validate refuses here, but for what CEL cannot express (see
// ServiceProfileStatus for those).
func CRD() *apix.CustomResourceDefinition {
	return &apix.CustomResourceDefinition{
		TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1",
			Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: Resource + "." + Group},
		Spec: apix.CustomResourceDefinitionSpec{
			Group: Group,
			Scope: apix.NamespaceScoped,
			Names: apix.CustomResourceDefinitionNames{
				Kind: Kind, ListKind: Kind + "List", Plural: Resource, Singular: "serviceprofile",
				ShortNames: []string{"sp"},
			},
			Versions: []apix.CustomResourceDefinitionVersion{version()},
		},
	}
}

func version() apix.CustomResourceDefinitionVersion {
	root := object(
		"How requests to one service are treated. Named after the service's full DNS name.", props{
			"apiVersion": {Type: "string"},
			"kind":       {Type: "string"},
			"metadata":   {Type: "object"},
			"spec":       specSchema(),
			"status":     statusSchema(),
		}, "spec")
	return apix.CustomResourceDefinitionVersion{
		Name: Version, Served: true, Storage: true,
		Schema: &apix.CustomResourceValidation{OpenAPIV3Schema: &root},
		Subresources: &apix.CustomResourceSubresources{
			Status: &apix.CustomResourceSubresourceStatus{},
		},
		AdditionalPrinterColumns: []apix.CustomResourceColumnDefinition{
			{Name: "Routes", Type: "integer", JSONPath: ".status.routes"},
			{Name: "Retryable", Type: "integer", JSONPath: ".status.retryable"},
			{Name: "Accepted", Type: "string",
				JSONPath: `.status.conditions[?(@.type=="Accepted")].status`},
			{Name: "Programmed", Type: "string",
				JSONPath: `.status.conditions[?(@.type=="Programmed")].status`},
			{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"},
		},
	}
}

type (
	schemaProps = apix.JSONSchemaProps
	props       = map[string]schemaProps
)

func object(description string, p props, required ...string) schemaProps {
	return schemaProps{Type: "object", Description: description, Properties: p, Required: required}
}

func list(description string, limit int64, items schemaProps) schemaProps {
	return schemaProps{Type: "array", Description: description, MaxItems: &limit,
		Items: &apix.JSONSchemaPropsOrArray{Schema: &items}}
}

func text(description string, limit int64, rules ...apix.ValidationRule) schemaProps {
	return schemaProps{Type: "string", Description: description, MaxLength: &limit,
		XValidations: rules}
}

func rule(expr, message string) apix.ValidationRule {
	return apix.ValidationRule{Rule: expr, Message: message}
}

func raw(v any) *apix.JSON {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // a constant of this file
	}
	return &apix.JSON{Raw: data}
}

func specSchema() schemaProps {
	return object("", props{
		"routes": list("Classes of requests. The first that matches decides.", MaxRoutes,
			routeSchema()),
		"retryBudget":  budgetSchema(),
		"dstOverrides": overridesSchema(),
		"opaquePorts": list("Ports of the service that carry no HTTP.", MaxOpaquePorts,
			portSchema()),
	})
}

func routeSchema() schemaProps {
	least := int64(1)
	name := text("What metrics call the route.", MaxRouteName)
	name.MinLength = &least
	route := object("", props{
		"name":      name,
		"condition": nest(requestSchema, 0),
		"isRetryable": {Type: "boolean",
			Description: "Whether a failed request may be sent again."},
		"timeout": durationSchema(
			"How long a request may take, its retries included. Such as 250ms.", "0s",
			maxTimeout.String()),
		"responseClasses": list(
			"Which responses are failures. Without one, 5xx and failing gRPC statuses are.",
			MaxResponseClasses,
			object("", props{
				"condition": nest(responseSchema, 0),
				"isFailure": {Type: "boolean"},
			}, "condition")),
		"hedge": hedgeSchema(),
	}, "name", "condition")
	route.XValidations = []apix.ValidationRule{
		rule("!has(self.hedge) || (has(self.isRetryable) && self.isRetryable)",
			"hedge: "+hedgeNeedsRetries),
	}
	return route
}

func hedgeSchema() schemaProps {
	least := int64(1)
	after := durationSchema("How long the slow one has had, such as 50ms.",
		MinHedge.String(), maxTimeout.String())
	after.MinLength = &least
	lowest, highest := float64(MinPercentile), float64(MaxPercentile)
	return object(
		"A second try, at another endpoint, beside one that is slow. The first answer counts.",
		props{"after": after, "percentile": {Type: "integer", Format: "int32",
			Description: "Of the route's answers of late, so many per cent take less than the " +
				"slow one has had, and it has had the time above.",
			Minimum: &lowest, Maximum: &highest}}, "after")
}

// nest completes a condition's own fields with all, any and not, as deep as MaxDepth. Below it the
// three are still declared, to be refused: were they unknown, a client without strict validation
// would have them silently dropped, and the condition would mean something else.
func nest(own func() props, depth int) schemaProps {
	p := own()
	if depth == MaxDepth {
		deeper := rule("false", fmt.Sprintf("conditions nest at most %d deep", MaxDepth))
		anything, yes, none := schemaProps{Type: "object"}, true, int64(0)
		anything.XPreserveUnknownFields = &yes
		lists := list("", none, anything)
		anything.XValidations = []apix.ValidationRule{deeper}
		lists.XValidations, lists.MaxItems = []apix.ValidationRule{deeper}, nil
		p["all"], p["any"], p["not"] = lists, lists, anything
	} else {
		least := int64(1)
		below := list("", listLimit(depth), nest(own, depth+1))
		below.MinItems = &least
		p["all"], p["any"], p["not"] = below, below, nest(own, depth+1)
	}
	one := int64(1)
	out := object("", p)
	out.MinProperties = &one
	return out
}

func requestSchema() props {
	method := text("", 64)
	method.Pattern = methodPattern
	return props{
		"method": method,
		// matches() fails to evaluate where the expression does not compile; the API server then
		// refuses the object with the compiler's own words. Its result does not matter.
		"pathRegex": text("RE2, anchored at both ends.", MaxRegex,
			rule("''.matches(self) in [true, false]", "must be an RE2 regular expression")),
	}
}

func responseSchema() props {
	least, most := 100.0, 599.0
	status := schemaProps{Type: "integer", Format: "int32", Minimum: &least, Maximum: &most}
	between := object("HTTP statuses, both ends included.", props{"min": status, "max": status})
	between.XValidations = []apix.ValidationRule{
		rule("!has(self.min) || !has(self.max) || self.min <= self.max",
			"min must not be above max"),
	}
	return props{"status": between}
}

// durationPattern is what time.ParseDuration takes, without a sign. CEL's duration() is that
// function, but fails where it should say what is wrong; so the form is checked before it.
const durationPattern = `^(0|([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+)$`

func durationSchema(description, least, most string) schemaProps {
	return text(description, 32,
		rule(fmt.Sprintf(`self == '' || self.matches('%s')`, durationPattern),
			"must be a duration with a unit, such as 250ms or 1.5s"),
		rule(
			fmt.Sprintf(
				`self == '' || !self.matches('%s') || (duration(self) >= duration('%s') && `+
					`duration(self) <= duration('%s'))`,
				durationPattern, least, most),
			fmt.Sprintf("must be between %s and %s", least, most)))
}

func budgetSchema() schemaProps {
	zero, one, top := 0.0, 1.0, float64(maxRetriesPerSecond)
	ttl := durationSchema("The window over which the budget is counted.", minTTL.String(), "60s")
	ttl.Default = raw(DefaultRetryTTL)
	return object(
		"Bounds retries to a share of the requests, and a floor for services that see few.", props{
			"retryRatio": {Type: "number", Minimum: &zero, Maximum: &one,
				Default: raw(DefaultRetryRatio)},
			"minRetriesPerSecond": {Type: "integer", Format: "int32", Minimum: &zero, Maximum: &top,
				Default: raw(DefaultMinRetriesPerSecond)},
			"ttl": ttl,
		})
}

func overridesSchema() schemaProps {
	out := list("Other authorities that take a share of the traffic.", MaxDstOverrides,
		overrideSchema())
	out.XValidations = []apix.ValidationRule{rule(
		`self.size() == 0 || self.exists(o, type(o.weight) == int ? o.weight > 0 : `+
			`!isQuantity(o.weight) || quantity(o.weight).isGreaterThan(quantity('0')))`,
		"at least one weight must be above 0")}
	return out
}

func overrideSchema() schemaProps {
	authority := text("host or host:port; without a port the caller's is kept.", maxAuthority,
		rule(`self.split(':')[0].size() <= 253`, "a host has at most 253 characters"),
		rule(fmt.Sprintf(`!self.matches('%s') || !self.contains(':') || `+
			`(int(self.split(':')[1]) >= 1 && int(self.split(':')[1]) <= 65535)`, authorityPattern),
			"a port is a number from 1 to 65535"))
	authority.Pattern = authorityPattern
	own := props{"authority": authority, "weight": weightSchema()}
	return object("", own, "authority", "weight")
}

const (
	maxAuthority     = int64(253 + len(".:65535"))
	label            = `[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?`
	authorityPattern = `^` + label + `([.]` + label + `)*[.]?(:[0-9]{1,5})?$`
)

func weightSchema() schemaProps {
	zero, digits := 0.0, int64(32)
	return schemaProps{
		Description:  "A share relative to the others', such as 10 or 500m.",
		XIntOrString: true,
		AnyOf:        []schemaProps{{Type: "integer"}, {Type: "string"}},
		Minimum:      &zero,
		MaxLength:    &digits,
		Pattern:      `^[+]?([0-9]+([.][0-9]*)?|[.][0-9]+)(m|k|M)?$`,
		XValidations: []apix.ValidationRule{rule(
			`type(self) == int ? self <= 1000000 : !isQuantity(self) || `+
				`!quantity(self).isGreaterThan(quantity('1M'))`,
			"must be between 0 and 1M")},
	}
}

// portSchema takes a port, or a range whose first port is not above its last.
func portSchema() schemaProps {
	first, last, longest := 1.0, 65535.0, int64(len("65535-65535"))
	const form = `^[0-9]{1,5}(-[0-9]{1,5})?$`
	return schemaProps{
		Minimum:      &first,
		Maximum:      &last,
		MaxLength:    &longest,
		XIntOrString: true,
		AnyOf:        []schemaProps{{Type: "integer"}, {Type: "string"}},
		Pattern:      form,
		XValidations: []apix.ValidationRule{rule(fmt.Sprintf(`type(self) == int || `+
			`!self.matches('%s') || (self.split('-').all(p, int(p) >= 1 && int(p) <= 65535) && `+
			`int(self.split('-')[0]) <= int(self.split('-')[self.split('-').size() - 1]))`, form),
			"must be a port such as 6379, or a range such as 6000-6999")},
	}
}

func statusSchema() schemaProps {
	return object("Written by destination.", props{
		"conditions": conditionsSchema(),
		"routes":     {Type: "integer", Format: "int32"},
		"retryable":  {Type: "integer", Format: "int32"},
	})
}

func conditionsSchema() schemaProps {
	str := schemaProps{Type: "string"}
	condition := object("", props{
		"type": str, "status": str, "reason": str, "message": str,
		"observedGeneration": {Type: "integer", Format: "int64"},
		"lastTransitionTime": {Type: "string", Format: "date-time"},
	}, "type", "status", "reason", "message", "lastTransitionTime")
	byType, kind := list("", 8, condition), "map"
	byType.XListType, byType.XListMapKeys = &kind, []string{"type"}
	return byType
}
