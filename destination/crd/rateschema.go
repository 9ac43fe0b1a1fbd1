package crd

import (
	"fmt"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// RateLimitPolicyCRD returns the CustomResourceDefinition of RateLimitPolicy. The API server then
// refuses by itself, naming the field, what Validate refuses.
func RateLimitPolicyCRD() *apix.CustomResourceDefinition {
	return attachedKind{
		kind: RateLimitPolicyKind, plural: RateLimitPolicies, short: "rlp", inherits: "Direct",
		what: "How often Services are called.", spec: rateLimitSpecSchema(),
		columns: []apix.CustomResourceColumnDefinition{
			{Name: "Limits", Type: "string", JSONPath: ".spec.limits[*].name"},
			{Name: "Dry Run", Type: "boolean", JSONPath: ".spec.dryRun"},
		},
	}.definition()
}

func rateLimitSpecSchema() schemaProps {
	limits := some(list("A request is held against all that match it.", MaxRateLimits,
		rateLimitSchema()))
	byName, kind := []string{"name"}, "map"
	limits.XListType, limits.XListMapKeys = &kind, byName
	return object("", props{
		"targetRefs": some(list("Services and routes of the policy's own namespace.", maxTargets,
			limitedSchema())),
		"limits": limits,
		"dryRun": {Type: "boolean",
			Description: "Count the requests that would be refused, and refuse none."},
	}, "targetRefs", "limits")
}

// some is a list that is not empty.
func some(s schemaProps) schemaProps {
	least := int64(1)
	s.MinItems = &least
	return s
}

func serviceReferenceSchema() schemaProps {
	ref := targetSchema()
	delete(ref.Properties, "namespace")
	ref.Properties["kind"] = oneOf("", TargetService)
	ref.XValidations = nil // they are about other kinds
	return ref
}

// limitedSchema is of what a RateLimitPolicy may name.
func limitedSchema() schemaProps {
	ref := serviceReferenceSchema()
	name := text("", 253)
	name.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	section := name
	section.Description = "What a port of the Service is called, or a rule of the route."
	ref.Properties["group"] = oneOf("", "", "core", gatewayv1.GroupName)
	ref.Properties["kind"] = oneOf("", TargetService, HTTPRoute, GRPCRoute)
	ref.Properties["name"], ref.Properties["sectionName"] = name, section
	const isLabel = "(!self.%[1]s.contains('.') && self.%[1]s.size() <= 63)"
	ref.XValidations = []apix.ValidationRule{
		rule(fmt.Sprintf("(has(self.group) && self.group == '%s') == (self.kind != '%s')",
			gatewayv1.GroupName, TargetService),
			"group: is "+gatewayv1.GroupName+" for a route, and empty for a Service"),
		rule("self.kind != '"+TargetService+"' || "+fmt.Sprintf(isLabel, "name"),
			"name: must be a DNS label"),
		rule("self.kind != '"+TargetService+"' || !has(self.sectionName) || "+
			fmt.Sprintf(isLabel, "sectionName"), "sectionName: must be a DNS label"),
	}
	return ref
}

func rateLimitSchema() schemaProps {
	name, one := text("What metrics call the limit.", MaxLimitName), int64(1)
	name.MinLength = &one
	mode := oneOf("Shared: each of a Service's ready pods admits an equal share, at least one "+
		"request. PerReplica: each admits all of it.", string(RateShared), string(RatePerReplica))
	mode.Default = raw(RateShared)
	window := durationSchema("Such as 1s or 1m.", MinRateWindow.String(), MaxRateWindow.String())
	window.MinLength = &one
	return object("So many requests in a window.", props{
		"name":  name,
		"match": httpMatchSchema(),
		"by": list("What tells buckets apart. Without it there is one.", MaxRateKeys,
			rateKeySchema()),
		"requests": count("That each bucket admits in a window.", 1),
		"window":   window,
		"burst":    count("How many may come at once; 0: as many as in a window.", 0),
		"mode":     mode,
	}, "name", "requests", "window")
}

func count(description string, least float64) schemaProps {
	most := float64(MaxRateRequests)
	return schemaProps{Type: "integer", Format: "int64", Description: description, Minimum: &least,
		Maximum: &most}
}

func rateKeySchema() schemaProps {
	header := text("Its value. All requests without it are alike.", maxHashName, rule(
		fmt.Sprintf("!self.lowerAscii().startsWith('%s')", reservedHeader), meshHeader))
	header.Pattern = tokenPattern
	key := object("", props{
		"identity": object("The caller's SPIFFE ID. All callers without one are alike.", nil),
		"header":   header,
		"path":     object("Without the query.", nil),
	})
	one := int64(1)
	key.MinProperties, key.MaxProperties = &one, &one
	return key
}

// httpMatchSchema is of HTTPRoute's match.
func httpMatchSchema() schemaProps {
	method := text("", 64)
	method.Pattern = methodPattern
	return object("Which requests, as in an HTTPRoute; without it all.", props{
		"path":        pathMatchSchema(),
		"headers":     list("", MaxFieldMatches, fieldMatchSchema()),
		"queryParams": list("", MaxFieldMatches, fieldMatchSchema()),
		"method":      method,
	})
}

func pathMatchSchema() schemaProps {
	kind := oneOf("", "Exact", "PathPrefix", regular)
	kind.Default = raw("PathPrefix")
	value := text("", maxPath)
	value.Default = raw("/")
	path := object("", props{"type": kind, "value": value})
	path.XValidations = append(regexRules(),
		rule("self.type == '"+regular+"' || self.value.startsWith('/')",
			"value: must begin with /"))
	return path
}

func fieldMatchSchema() schemaProps {
	kind := oneOf("", "Exact", regular)
	kind.Default = raw("Exact")
	name := text("", maxHashName)
	name.Pattern = tokenPattern
	match := object("", props{"type": kind, "name": name, "value": text("", MaxFieldValue)},
		"name", "value")
	match.XValidations = regexRules()
	return match
}

// regexRules hold for what has a type and a value. See requestSchema about matches().
func regexRules() []apix.ValidationRule {
	return []apix.ValidationRule{
		rule("self.type != '"+regular+"' || ''.matches(self.value) in [true, false]",
			"value: must be an RE2 regular expression"),
		rule(fmt.Sprintf("self.type != '%s' || self.value.size() <= %d", regular, MaxRegex),
			fmt.Sprintf("value: a regular expression has at most %d characters", MaxRegex)),
	}
}
