package crd

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns everything that is wrong with a policy, each error with the path of its field.
func (p *BackendTrafficPolicy) Validate() field.ErrorList {
	spec := field.NewPath("spec")
	errs := validateTargets(spec.Child("targetRefs"), p.Spec.TargetRefs)
	if p.Spec.isEmpty() {
		errs = append(errs, field.Required(spec, saysNothing))
	}
	errs = append(errs, p.Spec.LoadBalancer.validate(spec.Child("loadBalancer"))...)
	errs = append(errs, p.Spec.Locality.validate(spec.Child("locality"))...)
	errs = append(errs, p.Spec.validateSubset(spec.Child("subset"))...)
	errs = append(errs, p.Spec.SlowStart.validate(spec.Child("slowStart"))...)
	errs = append(errs, p.Spec.CircuitBreaker.validate(spec.Child("circuitBreaker"))...)
	errs = append(errs, p.Spec.OutlierDetection.validate(spec.Child("outlierDetection"))...)
	errs = append(errs, p.Spec.HealthCheck.validate(spec.Child("healthCheck"))...)
	errs = append(errs, p.validateOwner(spec)...)
	errs = append(errs, p.Spec.RetryBudget.validate(spec.Child("retryBudget"))...)
	errs = append(errs, p.Spec.Timeouts.validate(spec.Child("timeouts"))...)
	errs = append(errs, p.Spec.Hedge.validate(spec.Child("hedge"), true)...)
	return append(errs,
		p.Spec.AdaptiveConcurrency.validate(spec.Child("adaptiveConcurrency"))...)
}

const saysNothing = "set at least one of loadBalancer, locality, subset, slowStart, " +
	"circuitBreaker, outlierDetection, healthCheck, retryBudget, timeouts, hedge, " +
	"adaptiveConcurrency"

func (s *BackendTrafficPolicySpec) isEmpty() bool {
	return s.LoadBalancer == nil && s.Locality == nil && s.Subset == nil &&
		s.SlowStart == nil && s.CircuitBreaker == nil && s.OutlierDetection == nil &&
		s.HealthCheck == nil && s.RetryBudget == nil && s.AdaptiveConcurrency == nil &&
		s.Timeouts == nil && s.Hedge == nil
}

const noTimeout = "set at least one of request, perTry"

func (t *TrafficTimeouts) validate(path *field.Path) field.ErrorList {
	switch {
	case t == nil:
		return nil
	case t.Request == "" && t.PerTry == "":
		return field.ErrorList{field.Required(path, noTimeout)}
	}
	return append(validateDuration(path.Child("request"), t.Request, 0, maxTimeout),
		validateDuration(path.Child("perTry"), t.PerTry, 0, maxTimeout)...)
}

func validateTargets(path *field.Path, targets []TrafficTarget) field.ErrorList {
	if len(targets) == 0 {
		return field.ErrorList{field.Required(path, "name a Service or a Namespace")}
	}
	errs := atMost(path, len(targets), maxTargets)
	for i := range targets {
		errs = append(errs, targets[i].validate(path.Index(i))...)
	}
	return errs
}

func (t *TrafficTarget) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Group != "" && t.Group != "core" {
		errs = append(errs, field.NotSupported(path.Child("group"), t.Group, []string{"", "core"}))
	}
	switch {
	case t.Kind != TargetService && t.Kind != TargetNamespace:
		errs = append(errs, field.NotSupported(
			path.Child("kind"), t.Kind, []string{TargetService, TargetNamespace}))
	case t.Kind == TargetNamespace && (t.Namespace != "" || t.SectionName != ""):
		errs = append(errs, field.Forbidden(path, namespaceHasNoPart))
	}
	errs = append(errs, validateLabel(path.Child("name"), t.Name)...)
	if t.Namespace != "" {
		errs = append(errs, validateLabel(path.Child("namespace"), t.Namespace)...)
	}
	if t.SectionName != "" {
		errs = append(errs, validateLabel(path.Child("sectionName"), t.SectionName)...)
	}
	return errs
}

const namespaceHasNoPart = "a Namespace has neither a namespace nor a sectionName"

// validateLabel is for the names of Services, Namespaces and ports.
func validateLabel(path *field.Path, name string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range validation.IsDNS1123Label(name) {
		errs = append(errs, field.Invalid(path, name, problem))
	}
	return errs
}

func (lb *LoadBalancer) validate(path *field.Path) field.ErrorList {
	if lb == nil {
		return nil
	}
	var errs field.ErrorList
	switch lb.Type {
	case BalancerEWMA, BalancerLeastRequest, BalancerRoundRobin, BalancerRandom:
	case BalancerConsistentHash:
		if lb.ConsistentHash == nil {
			errs = append(errs, field.Required(path.Child("consistentHash"), hashNeedsKeys))
		}
	default:
		errs = append(errs, field.NotSupported(path.Child("type"), lb.Type, balancerTypes))
	}
	if lb.LeastRequest != nil {
		if lb.Type != BalancerLeastRequest {
			errs = append(errs, field.Forbidden(path.Child("leastRequest"), leastRequestsType))
		}
		errs = append(errs, choices.validate(
			path.Child("leastRequest", "choices"), lb.LeastRequest.Choices)...)
	}
	if lb.ConsistentHash != nil && lb.Type != BalancerConsistentHash {
		errs = append(errs, field.Forbidden(path.Child("consistentHash"), hashsType))
	}
	return append(errs, lb.ConsistentHash.validate(path.Child("consistentHash"))...)
}

var balancerTypes = []string{BalancerEWMA, BalancerLeastRequest, BalancerRoundRobin,
	BalancerRandom, BalancerConsistentHash}

const (
	leastRequestsType = "only a loadBalancer of type " + BalancerLeastRequest + " has it"
	hashsType         = "only a loadBalancer of type " + BalancerConsistentHash + " has it"
	hashNeedsKeys     = "say by which keys requests are spread"
	oneTable          = "set one of ring and maglev, or neither"
	ringOrder         = "maxSize must not be less than minSize"
)

func (h *ConsistentHash) validate(path *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	keys := path.Child("keys")
	errs := atMost(keys, len(h.Keys), maxHashKeys)
	if len(h.Keys) == 0 {
		errs = append(errs, field.Required(keys, hashNeedsKeys))
	}
	for i := range h.Keys {
		errs = append(errs, h.Keys[i].validate(keys.Index(i))...)
	}
	errs = append(errs, boundedLoad.validate(
		path.Child("boundedLoadPercent"), h.BoundedLoadPercent)...)
	if h.Ring != nil && h.Maglev != nil {
		errs = append(errs, field.Forbidden(path, oneTable))
	}
	errs = append(errs, h.Ring.validate(path.Child("ring"))...)
	return append(errs, h.Maglev.validate(path.Child("maglev"))...)
}

func (r *HashRing) validate(path *field.Path) field.ErrorList {
	if r == nil {
		return nil
	}
	errs := ringSize.validate(path.Child("minSize"), r.MinSize)
	errs = append(errs, ringSize.validate(path.Child("maxSize"), r.MaxSize)...)
	if r.MinSize != nil && r.MaxSize != nil && *r.MinSize > *r.MaxSize {
		errs = append(errs, field.Invalid(path.Child("maxSize"), *r.MaxSize, ringOrder))
	}
	return errs
}

func (m *MaglevTable) validate(path *field.Path) field.ErrorList {
	if m == nil || m.TableSize == nil {
		return nil
	}
	errs := tableSize.validate(path.Child("tableSize"), m.TableSize)
	if len(errs) == 0 && !isPrime(*m.TableSize) {
		errs = append(errs, field.Invalid(path.Child("tableSize"), *m.TableSize, tableIsPrime))
	}
	return errs
}

const tableIsPrime = "must be a prime, such as 65537"

func (k *HashKey) validate(path *field.Path) field.ErrorList {
	set := 0
	for _, is := range []bool{k.Header != "", k.Cookie != nil, k.Query != "", k.Source != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return field.ErrorList{field.Required(path, oneHashKey)}
	}
	errs := k.Cookie.validate(path.Child("cookie"))
	if k.Header != "" && !isToken(k.Header) {
		errs = append(errs, field.Invalid(
			path.Child("header"), k.Header, "must be the name of a header, such as x-user"))
	}
	if strings.HasPrefix(strings.ToLower(k.Header), reservedHeader) {
		errs = append(errs, field.Invalid(path.Child("header"), k.Header, meshHeader))
	}
	if utf8.RuneCountInString(k.Query) > maxHashName {
		errs = append(errs, field.TooLong(path.Child("query"), "", maxHashName))
	}
	return errs
}

const (
	oneHashKey = "set exactly one of header, cookie, query, source"
	meshHeader = "is a header of the mesh's own, which callers do not send"
)

// isToken is for names of headers and cookies: RFC 9110 §5.6.2, of bounded length.
func isToken(name string) bool {
	return len(name) <= maxHashName && tokens.MatchString(name)
}

func (c *HashCookie) validate(path *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	errs := cookieLife.validate(path.Child("ttl"), c.TTL)
	if !isToken(c.Name) {
		errs = append(errs, field.Invalid(
			path.Child("name"), c.Name, "must be the name of a cookie, such as session"))
	}
	if len(c.Path) > maxPath || c.Path != "" && !cookiePath.MatchString(c.Path) {
		errs = append(errs, field.Invalid(
			path.Child("path"), c.Path, "must begin with / and have no ; in it"))
	}
	return errs
}

const subsetHash = "callers that know different endpoints do not agree where a key falls: " +
	"a policy has a subset or a ConsistentHash"

func (s *BackendTrafficPolicySpec) validateSubset(path *field.Path) field.ErrorList {
	if s.Subset == nil {
		return nil
	}
	errs := subsetSize.validate(path.Child("size"), &s.Subset.Size)
	if s.LoadBalancer != nil && s.LoadBalancer.Type == BalancerConsistentHash {
		errs = append(errs, field.Forbidden(path, subsetHash))
	}
	return errs
}

var (
	preferences = []string{PreferNode, PreferZone, PreferRegion, PreferNone}
	spillovers  = []string{SpilloverLoad, SpilloverHealth}
)

const (
	noPlace    = "say a region, a zone, or both"
	noFailover = "a locality that prefers " + PreferNone + " has no failover"
)

func (l *Locality) validate(path *field.Path) field.ErrorList {
	if l == nil {
		return nil
	}
	var errs field.ErrorList
	if !slices.Contains(preferences, l.Prefer) {
		errs = append(errs, field.NotSupported(path.Child("prefer"), l.Prefer, preferences))
	}
	if l.Spillover != "" && !slices.Contains(spillovers, l.Spillover) {
		errs = append(errs, field.NotSupported(path.Child("spillover"), l.Spillover, spillovers))
	}
	failover := path.Child("failover")
	errs = append(errs, atMost(failover, len(l.Failover), maxFailover)...)
	if l.Prefer == PreferNone && l.Failover != nil {
		errs = append(errs, field.Forbidden(failover, noFailover))
	}
	for i := range l.Failover {
		errs = append(errs, l.Failover[i].validate(failover.Index(i))...)
	}
	return errs
}

func (p *FailoverPlace) validate(path *field.Path) field.ErrorList {
	if *p == (FailoverPlace{}) {
		return field.ErrorList{field.Required(path, noPlace)}
	}
	errs := validatePlace(path.Child("region"), p.Region)
	return append(errs, validatePlace(path.Child("zone"), p.Zone)...)
}

func validatePlace(path *field.Path, name string) field.ErrorList {
	if name == "" || len(name) <= maxLabelValue && labels.MatchString(name) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, name, "must be what a node's label may say")}
}

func (s *SlowStart) validate(path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := slowStart.validate(path.Child("window"), s.Window)
	if s.Window == "" {
		errs = append(errs, field.Required(path.Child("window"),
			"such as 30s: how long a new endpoint takes to come to its share"))
	}
	errs = append(errs, percent.validate(path.Child("minWeightPercent"), s.MinWeightPercent)...)
	return append(errs, validateNumber(
		path.Child("aggression"), s.Aggression, minAggression, maxAggression)...)
}

func validateNumber(path *field.Path, n *float64, least, most float64) field.ErrorList {
	if n == nil || least <= *n && *n <= most {
		return nil
	}
	return field.ErrorList{field.Invalid(
		path, *n, fmt.Sprintf("must be between %v and %v", least, most))}
}

func (c *CircuitBreaker) validate(path *field.Path) field.ErrorList {
	if c == nil {
		return nil
	}
	if *c == (CircuitBreaker{}) {
		return field.ErrorList{field.Required(path, "set at least one of its bounds")}
	}
	errs := limit.validate(path.Child("maxConnections"), c.MaxConnections)
	errs = append(errs, limit.validate(
		path.Child("maxPendingRequests"), c.MaxPendingRequests)...)
	errs = append(errs, limit.validate(path.Child("maxRequests"), c.MaxRequests)...)
	return append(errs, limit.validate(path.Child("maxRetries"), c.MaxRetries)...)
}

func (a *AdaptiveConcurrency) validate(path *field.Path) field.ErrorList {
	if a == nil {
		return nil
	}
	errs := concurrency.validate(path.Child("minRequests"), a.MinRequests)
	errs = append(errs, concurrency.validate(path.Child("maxRequests"), a.MaxRequests)...)
	if a.MinRequests != nil && a.MaxRequests != nil && *a.MinRequests > *a.MaxRequests {
		errs = append(errs, field.Invalid(
			path.Child("maxRequests"), *a.MaxRequests, concurrencyOrder))
	}
	errs = append(errs, buffer.validate(path.Child("bufferPercent"), a.BufferPercent)...)
	errs = append(errs, percentile.validate(path.Child("percentile"), a.Percentile)...)
	errs = append(errs, limitWindow.validate(path.Child("window"), a.Window)...)
	errs = append(errs, baselineEvery.validate(
		path.Child("baselineInterval"), a.BaselineInterval)...)
	return append(errs, baseline.validate(
		path.Child("baselineRequests"), a.BaselineRequests)...)
}

const concurrencyOrder = "maxRequests must not be less than minRequests"

func (o *OutlierDetection) validate(path *field.Path) field.ErrorList {
	if o == nil {
		return nil
	}
	var errs field.ErrorList
	if o.ConsecutiveFailures == nil && o.SuccessRate == nil && o.Deviation == nil {
		errs = append(errs, field.Required(path, needsDetector))
	}
	errs = append(errs, requests.validate(
		path.Child("consecutiveFailures"), o.ConsecutiveFailures)...)
	errs = append(errs, o.SuccessRate.validate(path.Child("successRate"))...)
	errs = append(errs, o.Deviation.validate(path.Child("deviation"))...)
	errs = append(errs, ejection.validate(path.Child("baseEjectionTime"), o.BaseEjectionTime)...)
	errs = append(errs, maxEjection.validate(path.Child("maxEjectionTime"), o.MaxEjectionTime)...)
	base, _ := time.ParseDuration(o.BaseEjectionTime) // what is malformed is said above
	most, _ := time.ParseDuration(o.MaxEjectionTime)
	if most > 0 && base > most {
		errs = append(errs, field.Invalid(
			path.Child("maxEjectionTime"), o.MaxEjectionTime, ejectionOrder))
	}
	return append(errs, percent.validate(
		path.Child("maxEjectedPercent"), o.MaxEjectedPercent)...)
}

const (
	needsDetector = "set at least one of consecutiveFailures, successRate, deviation: " +
		"by what endpoints are judged"
	ejectionOrder = "maxEjectionTime must not be less than baseEjectionTime"
)

func (s *SuccessRate) validate(path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	errs := percent.validate(path.Child("thresholdPercent"), &s.ThresholdPercent)
	errs = append(errs, rateWindow.validate(path.Child("window"), s.Window)...)
	return append(errs, requests.validate(path.Child("minRequests"), s.MinRequests)...)
}

func (d *Deviation) validate(path *field.Path) field.ErrorList {
	if d == nil {
		return nil
	}
	errs := validateNumber(path.Child("factor"), d.Factor, minFactor, maxFactor)
	errs = append(errs, rateWindow.validate(path.Child("interval"), d.Interval)...)
	errs = append(errs, minEndpoints.validate(path.Child("minEndpoints"), d.MinEndpoints)...)
	return append(errs, requests.validate(path.Child("minRequests"), d.MinRequests)...)
}
