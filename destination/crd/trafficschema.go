package crd

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// BackendTrafficPolicyCRD returns the CustomResourceDefinition of BackendTrafficPolicy. The API
// server then refuses by itself, naming the field, what Validate refuses.
func BackendTrafficPolicyCRD() *apix.CustomResourceDefinition {
	return attachedKind{
		kind: BackendTrafficPolicyKind, plural: BackendTrafficPolicies, short: "btp",
		inherits: "Inherited", what: "How the endpoints behind Services are used.",
		spec: trafficSchema(),
		columns: []apix.CustomResourceColumnDefinition{
			{Name: "Balancer", Type: "string", JSONPath: ".spec.loadBalancer.type"},
		},
	}.definition()
}

func trafficSchema() schemaProps {
	one := int64(1)
	targets := list("The Services, ports and Namespaces that the policy is about.", maxTargets,
		targetSchema())
	targets.MinItems = &one
	spec := object("", props{
		"targetRefs":   targets,
		"loadBalancer": balancerSchema(),
		"locality":     localitySchema(),
		"subset": object("Each caller knows part of the endpoints only.", props{
			"size": subsetSize.schema("About how many; fewer than twice as many."),
		}, "size"),
		"slowStart":        slowStartSchema(),
		"circuitBreaker":   breakerSchema(),
		"outlierDetection": outlierSchema(),
		"healthCheck":      healthCheckSchema(),
		"retryBudget":      budgetSchema(),
		"timeouts":         timeoutsSchema(),
		"hedge":            hedgeSchema(),

		"adaptiveConcurrency": concurrencySchema(),
	}, "targetRefs")
	spec.XValidations = []apix.ValidationRule{rule(
		"has(self.loadBalancer) || has(self.locality) || has(self.subset) || "+
			"has(self.slowStart) || has(self.circuitBreaker) || has(self.outlierDetection) || "+
			"has(self.healthCheck) || has(self.retryBudget) || has(self.timeouts) || "+
			"has(self.hedge) || has(self.adaptiveConcurrency)",
		saysNothing), rule(
		"!has(self.subset) || !has(self.loadBalancer) || self.loadBalancer.type != '"+
			BalancerConsistentHash+"'", subsetHash)}
	return spec
}

func timeoutsSchema() schemaProps {
	most := maxTimeout.String()
	out := object("Of the requests of routes that say none.", props{
		"request": durationSchema(
			"How long a request may take, its retries included. 0s: as long as it takes.", "0s",
			most),
		"perTry": durationSchema("How long one try may take. 0s: as long as it takes.", "0s", most),
	})
	out.XValidations = []apix.ValidationRule{
		rule("has(self.request) && self.request != '' || has(self.perTry) && self.perTry != ''",
			noTimeout),
	}
	return out
}

func targetSchema() schemaProps {
	name := text("", 63)
	name.Pattern = `^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	namespace, section := name, name
	namespace.Description = "Of a Service; the policy's own where it is not said."
	section.Description = "Of a Service: what one of its ports is called."
	target := object("", props{
		"group":       oneOf("", "", "core"),
		"kind":        oneOf("", TargetService, TargetNamespace),
		"name":        name,
		"namespace":   namespace,
		"sectionName": section,
	}, "kind", "name")
	// namespace is a word of CEL's own: Kubernetes writes the field so
	target.XValidations = []apix.ValidationRule{rule(
		"self.kind != '"+TargetNamespace+"' || "+
			"(!has(self.__namespace__) && !has(self.sectionName))",
		namespaceHasNoPart)}
	return target
}

func oneOf(description string, words ...string) schemaProps {
	out := schemaProps{Type: "string", Description: description}
	for _, word := range words {
		out.Enum = append(out.Enum, *raw(word))
	}
	return out
}

func balancerSchema() schemaProps {
	out := object("How an endpoint is chosen.", props{
		"type": oneOf("", balancerTypes...),
		"leastRequest": object("", props{
			"choices": withDefault(choices.schema(
				"Of how many endpoints at random the least busy one is taken."), defaultChoices),
		}),
		"consistentHash": hashSchema(),
	}, "type")
	out.XValidations = []apix.ValidationRule{
		rule("!has(self.leastRequest) || self.type == '"+BalancerLeastRequest+"'",
			"leastRequest: "+leastRequestsType),
		rule("!has(self.consistentHash) || self.type == '"+BalancerConsistentHash+"'",
			"consistentHash: "+hashsType),
		rule("self.type != '"+BalancerConsistentHash+"' || has(self.consistentHash)",
			"consistentHash: "+hashNeedsKeys),
	}
	return out
}

func withDefault(s schemaProps, value any) schemaProps {
	s.Default = raw(value)
	return s
}

func hashSchema() schemaProps {
	one := int64(1)
	keys := list("The first that a request has decides where it goes.", maxHashKeys, keySchema())
	keys.MinItems = &one
	out := object("", props{
		"keys": keys,
		"boundedLoadPercent": boundedLoad.schema(
			"By how much an endpoint may have more than its share before the next one is taken."),
		"ring":   ringSchema(),
		"maglev": maglevSchema(),
	}, "keys")
	out.XValidations = []apix.ValidationRule{
		rule("!has(self.ring) || !has(self.maglev)", oneTable)}
	return out
}

func ringSchema() schemaProps {
	out := object("A ring of points between the two, instead of a Maglev table.", props{
		"minSize": withDefault(ringSize.schema(""), defaultRingMin),
		"maxSize": withDefault(ringSize.schema(""), defaultRingMax),
	})
	out.XValidations = []apix.ValidationRule{rule(
		"!has(self.minSize) || !has(self.maxSize) || self.minSize <= self.maxSize", ringOrder)}
	return out
}

func maglevSchema() schemaProps {
	var primes []string
	for _, p := range smallPrimes() {
		primes = append(primes, strconv.Itoa(int(p)))
	}
	size := withDefault(tableSize.schema("A prime."), defaultTable)
	size.XValidations = []apix.ValidationRule{rule(
		"["+strings.Join(primes, ",")+"].all(p, self % p != 0 || self == p)", tableIsPrime)}
	return object("", props{"tableSize": size})
}

// tokenPattern is RFC 9110 §5.6.2.
const (
	tokenPattern      = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
	cookiePathPattern = "^/[ -:<-~]*$"
)

// labelPattern is of what a node's label may say (Kubernetes' rule for values of labels).
const (
	labelPattern  = "^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
	maxLabelValue = 63
)

var (
	labels     = regexp.MustCompile(labelPattern)
	tokens     = regexp.MustCompile(tokenPattern)
	cookiePath = regexp.MustCompile(cookiePathPattern)
)

func keySchema() schemaProps {
	one := int64(1)
	header := text("The name of a header.", maxHashName, rule(
		fmt.Sprintf("!self.lowerAscii().startsWith('%s')", reservedHeader), meshHeader))
	header.Pattern = tokenPattern
	query := text("The name of a query parameter.", maxHashName)
	query.MinLength = &one
	cookie := text("", maxHashName)
	cookie.Pattern = tokenPattern
	path := text("", maxPath)
	path.Pattern = cookiePathPattern
	out := object("", props{
		"header": header,
		"cookie": object("A cookie. With a ttl, whoever has none is given one.", props{
			"name": cookie,
			"path": path,
			"ttl":  cookieLife.schema("How long the cookie that is given lasts, such as 1h."),
		}, "name"),
		"query":  query,
		"source": object("The caller's address.", nil),
	})
	out.XValidations = []apix.ValidationRule{rule(
		"[has(self.header), has(self.cookie), has(self.query), has(self.source)]"+
			".filter(is, is).size() == 1", oneHashKey)}
	return out
}

func localitySchema() schemaProps {
	label := text("", maxLabelValue)
	label.Pattern = labelPattern
	place := object("A region, a zone, or a zone of a region.", props{
		"region": label, "zone": label,
	})
	place.XValidations = []apix.ValidationRule{
		rule("has(self.region) || has(self.zone)", noPlace)}
	out := object("Which endpoints come first, by how near they are to the caller.", props{
		"prefer": oneOf("Where the first ones are. None: it does not matter.", preferences...),
		"spillover": withDefault(oneOf("Why requests go farther: for endpoints that cannot be "+
			"asked, and with Load also for those that answer slowly.", spillovers...),
			SpilloverLoad),
		"failover": list("Where to go first of what is farther.", maxFailover, place),
	}, "prefer")
	out.XValidations = []apix.ValidationRule{
		rule("self.prefer != '"+PreferNone+"' || !has(self.failover)", noFailover)}
	return out
}

func slowStartSchema() schemaProps {
	one := int64(1)
	window := slowStart.schema("How long a new endpoint takes to come to its share, such as 30s.")
	window.MinLength = &one
	return object("A new endpoint gets its share little by little.", props{
		"window": window,
		"minWeightPercent": withDefault(percent.schema(
			"Of its share, at the beginning."), defaultMinWeight),
		"aggression": withDefault(number("1: as a straight line. The higher, the more of it comes "+
			"early.", minAggression, maxAggression), defaultAggression),
	}, "window")
}

// number has its least by a rule: the API server compares an integer to a minimum without its
// fraction, and takes 0 for no less than 0.1.
func number(description string, least, most float64) schemaProps {
	return schemaProps{Type: "number", Description: description, Maximum: &most,
		XValidations: []apix.ValidationRule{
			rule(fmt.Sprintf("self >= %v", least), fmt.Sprintf("must be at least %v", least)),
		}}
}

func breakerSchema() schemaProps {
	one := int64(1)
	out := object("Bounds what one proxy asks of a port at once. The rest is refused.", props{
		"maxConnections":     limit.schema(""),
		"maxPendingRequests": limit.schema("That wait for a connection or a stream."),
		"maxRequests":        limit.schema("That are under way."),
		"maxRetries":         limit.schema("Of those, beyond their first try."),
	})
	out.MinProperties = &one
	return out
}

func concurrencySchema() schemaProps {
	out := object("Bounds the requests under way at each pod, by what they take.", props{
		"minRequests": withDefault(concurrency.schema(
			"Of the limit. It is that while a pod is measured."), defaultMinConcurrency),
		"maxRequests": withDefault(concurrency.schema("Of the limit."), defaultMaxConcurrency),
		"bufferPercent": withDefault(buffer.schema(
			"How much longer requests may take than while there are few."), defaultBuffer),
		"percentile": withDefault(percentile.schema(
			"So many per cent of a window's requests take less than what counts."),
			defaultPercentile),
		"window": withDefault(limitWindow.schema("How often the limit is set."),
			defaultLimitWindow),
		"baselineInterval": withDefault(baselineEvery.schema("How often a pod is measured "+
			"whose limit is in use."), defaultBaselineEvery),
		"baselineRequests": withDefault(baseline.schema("By how many requests."),
			defaultBaselineRequests),
	})
	out.XValidations = []apix.ValidationRule{rule("!has(self.minRequests) || "+
		"!has(self.maxRequests) || self.minRequests <= self.maxRequests", concurrencyOrder)}
	return out
}

func outlierSchema() schemaProps {
	base := ejection.schema("The first time; each that follows doubles it. Such as 10s.")
	most := maxEjection.schema("No ejection is longer.")
	out := object("Keeps requests from endpoints that fail, for a time.", props{
		"consecutiveFailures": requests.schema("This many in a row eject."),
		"successRate":         rateSchema(),
		"deviation":           deviationSchema(),
		"baseEjectionTime":    base,
		"maxEjectionTime":     most,
		"maxEjectedPercent":   percent.schema("Of the endpoints. One may always be, of several."),
		"dryRun": {Type: "boolean",
			Description: "Count whom it would eject, and eject nobody."},
	})
	out.XValidations = []apix.ValidationRule{
		rule("has(self.consecutiveFailures) || has(self.successRate) || has(self.deviation)",
			needsDetector),
		rule(fmt.Sprintf("!has(self.baseEjectionTime) || !has(self.maxEjectionTime) || "+
			"!self.baseEjectionTime.matches('%[1]s') || !self.maxEjectionTime.matches('%[1]s') || "+
			"duration(self.baseEjectionTime) <= duration(self.maxEjectionTime)", durationPattern),
			ejectionOrder),
	}
	return out
}

func rateSchema() schemaProps {
	return object("Ejects an endpoint of which too few requests have succeeded.", props{
		"thresholdPercent": percent.schema("Less than this ejects."),
		"window": withDefault(rateWindow.schema(
			"A sliding window."), defaultWindow),
		"minRequests": withDefault(requests.schema(
			"In the window, before it is judged."), defaultRateRequests),
	}, "thresholdPercent")
}

func deviationSchema() schemaProps {
	return object("Ejects an endpoint that succeeds less than the others do.", props{
		"factor": withDefault(number("By so many standard deviations less than the mean.",
			minFactor, maxFactor), defaultFactor),
		"interval": withDefault(rateWindow.schema("How often they are compared."), defaultWindow),
		"minEndpoints": withDefault(minEndpoints.schema(
			"With minRequests in the interval, before any is judged."), defaultMinEndpoints),
		"minRequests": withDefault(requests.schema(""), defaultMinRequests),
	})
}

// ancestorsSchema is that of gatewayv1.PolicyStatus: the list is one value to the API server.
func ancestorsSchema() schemaProps {
	str, atomic := schemaProps{Type: "string"}, "atomic"
	ref := object("", props{
		"group": str, "kind": str, "namespace": str, "name": str, "sectionName": str,
		"port": {Type: "integer", Format: "int32"},
	}, "name")
	ancestors := list("What has become of the policy at each of its targets.", maxTargets,
		object("", props{
			"ancestorRef": ref, "controllerName": str, "conditions": conditionsSchema(),
		}, "ancestorRef", "controllerName"))
	ancestors.XListType = &atomic
	return object("Written by destination.", props{"ancestors": ancestors})
}
