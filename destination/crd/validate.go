package crd

import (
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate returns everything that is wrong with a profile, each error with the path of its field.
func (p *ServiceProfile) Validate() field.ErrorList {
	errs := validateName(p.Name)
	spec := field.NewPath("spec")
	errs = append(errs, validateSize(spec, &p.Spec)...)
	errs = append(errs, atMost(spec.Child("routes"), len(p.Spec.Routes), MaxRoutes)...)
	for i := range p.Spec.Routes {
		errs = append(errs, p.Spec.Routes[i].validate(spec.Child("routes").Index(i))...)
	}
	errs = append(errs, p.Spec.RetryBudget.validate(spec.Child("retryBudget"))...)
	errs = append(errs, validateOverrides(spec.Child("dstOverrides"), p.Spec.DstOverrides)...)
	return append(errs, validatePorts(spec.Child("opaquePorts"), p.Spec.OpaquePorts)...)
}

func validateSize(path *field.Path, spec *ServiceProfileSpec) field.ErrorList {
	text, err := json.Marshal(spec)
	switch {
	case err != nil:
		return field.ErrorList{field.InternalError(path, err)}
	case len(text) > MaxSpec:
		return field.ErrorList{field.Invalid(path, fmt.Sprintf("%d bytes of JSON", len(text)),
			fmt.Sprintf("must have at most %d: use fewer routes, or shorter conditions", MaxSpec))}
	}
	return nil
}

func validateName(name string) field.ErrorList {
	var errs field.ErrorList
	for _, problem := range validation.IsDNS1123Subdomain(name) {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), name,
			"must be the service's full DNS name, such as web.shop.svc.cluster.local: "+problem))
	}
	return errs
}

func (r *Route) validate(path *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch {
	case r.Name == "":
		errs = append(errs, field.Required(path.Child("name"), "metrics name the route by it"))
	case utf8.RuneCountInString(r.Name) > MaxRouteName: // as the API server counts
		errs = append(errs, field.TooLong(path.Child("name"), "", MaxRouteName))
	}
	errs = append(errs, r.Condition.validate(path.Child("condition"), 0)...)
	errs = append(errs, validateDuration(path.Child("timeout"), r.Timeout, 0, maxTimeout)...)
	errs = append(errs, r.Hedge.validate(path.Child("hedge"), r.IsRetryable)...)
	errs = append(errs, atMost(path.Child("responseClasses"), len(r.ResponseClasses),
		MaxResponseClasses)...)
	for i, class := range r.ResponseClasses {
		errs = append(errs, class.Condition.validate(
			path.Child("responseClasses").Index(i).Child("condition"), 0)...)
	}
	return errs
}

func (h *Hedge) validate(path *field.Path, retryable bool) field.ErrorList {
	switch {
	case h == nil:
		return nil
	case !retryable:
		return field.ErrorList{field.Forbidden(path, hedgeNeedsRetries)}
	case h.After == "":
		return field.ErrorList{field.Required(path.Child("after"),
			"such as 50ms: the time that nearly every request is answered in")}
	}
	errs := validateDuration(path.Child("after"), h.After, MinHedge, maxTimeout)
	if p := h.Percentile; p != 0 && (p < MinPercentile || p > MaxPercentile) {
		errs = append(errs, field.Invalid(path.Child("percentile"), p,
			fmt.Sprintf("must be from %d to %d", MinPercentile, MaxPercentile)))
	}
	return errs
}

const hedgeNeedsRetries = "only a route with isRetryable: true may have one, " +
	"for a hedged request reaches two endpoints"

func (m *RequestMatch) validate(path *field.Path, depth int) field.ErrorList {
	if m == nil || (m.PathRegex == "" && m.Method == "" && m.All == nil && m.Any == nil &&
		m.Not == nil) {
		return field.ErrorList{field.Required(
			path, "set at least one of pathRegex, method, all, any, not")}
	}
	errs := validateRegex(path.Child("pathRegex"), m.PathRegex)
	errs = append(errs, validateMethod(path.Child("method"), m.Method)...)
	if m.Not != nil {
		errs = append(errs, nested(path.Child("not"), m.Not, depth)...)
	}
	errs = append(errs, nestedList(path.Child("all"), m.All, depth)...)
	return append(errs, nestedList(path.Child("any"), m.Any, depth)...)
}

func (m *ResponseMatch) validate(path *field.Path, depth int) field.ErrorList {
	if m == nil || (m.Status == nil && m.All == nil && m.Any == nil && m.Not == nil) {
		return field.ErrorList{field.Required(path, "set at least one of status, all, any, not")}
	}
	errs := m.Status.validate(path.Child("status"))
	if m.Not != nil {
		errs = append(errs, nested(path.Child("not"), m.Not, depth)...)
	}
	errs = append(errs, nestedList(path.Child("all"), m.All, depth)...)
	return append(errs, nestedList(path.Child("any"), m.Any, depth)...)
}

// condition is a RequestMatch or a ResponseMatch: what nests.
type condition interface {
	validate(path *field.Path, depth int) field.ErrorList
}

func nested(path *field.Path, c condition, depth int) field.ErrorList {
	if depth == MaxDepth {
		return field.ErrorList{field.Forbidden(
			path, fmt.Sprintf("conditions nest at most %d deep", MaxDepth))}
	}
	return c.validate(path, depth+1)
}

func nestedList[C condition](path *field.Path, list []C, depth int) field.ErrorList {
	if list == nil {
		return nil
	}
	if depth == MaxDepth {
		return field.ErrorList{field.Forbidden(
			path, fmt.Sprintf("conditions nest at most %d deep", MaxDepth))}
	}
	if len(list) == 0 {
		return field.ErrorList{field.Required(path, "an empty list says nothing")}
	}
	errs := atMost(path, len(list), int(listLimit(depth)))
	for i, c := range list {
		errs = append(errs, nested(path.Index(i), c, depth)...)
	}
	return errs
}

func (s *StatusRange) validate(path *field.Path) field.ErrorList {
	if s == nil {
		return nil
	}
	var errs field.ErrorList
	for _, end := range []struct {
		name  string
		value uint32
	}{{"min", s.Min}, {"max", s.Max}} {
		if end.value != 0 && (end.value < 100 || end.value > 599) {
			errs = append(errs, field.Invalid(
				path.Child(end.name), end.value, "must be an HTTP status, 100 to 599"))
		}
	}
	if s.Min != 0 && s.Max != 0 && s.Min > s.Max {
		errs = append(errs, field.Invalid(path.Child("max"), s.Max,
			fmt.Sprintf("must not be below min, %d", s.Min)))
	}
	return errs
}

func (b *RetryBudget) validate(path *field.Path) field.ErrorList {
	if b == nil {
		return nil
	}
	errs := validateDuration(path.Child("ttl"), b.TTL, minTTL, maxTTL)
	if n := b.MinRetriesPerSecond; n != nil && *n > maxRetriesPerSecond {
		errs = append(errs, field.Invalid(path.Child("minRetriesPerSecond"), *n,
			fmt.Sprintf("must be at most %d", maxRetriesPerSecond)))
	}
	if r := b.RetryRatio; r != nil && !(*r >= 0 && *r <= 1) {
		errs = append(errs, field.Invalid(path.Child("retryRatio"), *r,
			"must be between 0 and 1: the share of requests that may be retried"))
	}
	return errs
}

func validateOverrides(path *field.Path, overrides []WeightedDst) field.ErrorList {
	errs := atMost(path, len(overrides), MaxDstOverrides)
	total := int64(0)
	for i, o := range overrides {
		if _, _, err := SplitAuthority(o.Authority); err != nil {
			errs = append(errs, field.Invalid(
				path.Index(i).Child("authority"), o.Authority, err.Error()))
		}
		milli := o.Weight.MilliValue()
		if milli < 0 || milli > 1e9 {
			errs = append(errs, field.Invalid(
				path.Index(i).Child("weight"), o.Weight.String(), "must be between 0 and 1M"))
		}
		total += milli
	}
	if len(overrides) > 0 && total == 0 {
		errs = append(errs, field.Invalid(path, "0", "at least one weight must be above 0"))
	}
	return errs
}

// SplitAuthority takes host or host:port apart. Port 0 means that none was given.
func SplitAuthority(authority string) (host string, port uint16, err error) {
	host = authority
	if strings.Contains(authority, ":") {
		var text string
		if host, text, err = net.SplitHostPort(authority); err != nil {
			return "", 0, fmt.Errorf("must be host or host:port")
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("port %q must be a number, 1 to 65535", text)
		}
		port = uint16(n)
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if problems := validation.IsDNS1123Subdomain(host); len(problems) > 0 {
		return "", 0, fmt.Errorf("host %q is no DNS name: %s", host, problems[0])
	}
	return host, port, nil
}

func validatePorts(path *field.Path, ports []intstr.IntOrString) field.ErrorList {
	errs := atMost(path, len(ports), MaxOpaquePorts)
	for i := range ports {
		if _, err := ParsePortRange(ports[i].String()); err != nil {
			errs = append(errs, field.Invalid(path.Index(i), ports[i].String(), err.Error()))
		}
	}
	return errs
}

func validateRegex(path *field.Path, expr string) field.ErrorList {
	if utf8.RuneCountInString(expr) > MaxRegex {
		return field.ErrorList{field.TooLong(path, "", MaxRegex)}
	}
	if _, err := regexp.Compile(expr); err != nil {
		return field.ErrorList{field.Invalid(path, expr, err.Error())}
	}
	return nil
}

// A method is a token: RFC 9110 §9.1 and §5.6.2. It is compared as it is, upper and lower case
// apart.
var methodToken = regexp.MustCompile(methodPattern)

const methodPattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"

func validateMethod(path *field.Path, method string) field.ErrorList {
	if method == "" || methodToken.MatchString(method) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, method, "must be an HTTP method such as GET")}
}

func validateDuration(path *field.Path, text string, least, most time.Duration) field.ErrorList {
	if text == "" {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return field.ErrorList{field.Invalid(
			path, text, "must be a duration with a unit, such as 250ms or 1.5s")}
	}
	if d < least || d > most {
		return field.ErrorList{field.Invalid(
			path, text, fmt.Sprintf("must be between %s and %s", least, most))}
	}
	return nil
}

func atMost(path *field.Path, n, limit int) field.ErrorList {
	if n <= limit {
		return nil
	}
	return field.ErrorList{field.TooMany(path, n, limit)}
}
