package crd

import (
	"fmt"
	"regexp"
	"time"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// HealthCheck has each pod's own proxy ask the application whether it is well. Calls leave a pod
// alone whose application is not. Exactly one of the first three must be there.
type HealthCheck struct {
	HTTP *HTTPCheck `json:"http,omitempty"`
	GRPC *GRPCCheck `json:"grpc,omitempty"`
	TCP  *TCPCheck  `json:"tcp,omitempty"`
	// Go durations.
	Interval string `json:"interval,omitempty"`
	Timeout  string `json:"timeout,omitempty"` // of one check, at most the interval
	// So many in a row change what is thought of the pod.
	HealthyThreshold   *uint32 `json:"healthyThreshold,omitempty"`
	UnhealthyThreshold *uint32 `json:"unhealthyThreshold,omitempty"`
	Port               *uint32 `json:"port,omitempty"` // of the pod; absent: the one that is called
}

// HTTPCheck asks for a path.
type HTTPCheck struct {
	Path string `json:"path"` // with its query
	Host string `json:"host,omitempty"`
	// Of a good answer; none: 200 to 299.
	ExpectedStatuses []StatusRange `json:"expectedStatuses,omitempty"`
}

// GRPCCheck calls Check of grpc.health.v1.Health.
type GRPCCheck struct {
	Service string `json:"service,omitempty"` // empty: the server as a whole
}

// TCPCheck connects, and has nothing to say.
type TCPCheck struct{}

// What a check means that says only how to ask. A pod whose application has ended is out after some
// ten seconds: as soon as a readiness probe of Kubernetes' defaults would have it, or sooner.
const (
	defaultCheckInterval = "5s"
	defaultCheckTimeout  = "1s"
	defaultHealthy       = 2
	defaultUnhealthy     = 3
)

// Bounds of a HealthCheck. Those of its numbers and times are the proxies'.
const (
	maxCheckPath    = 1024
	maxCheckHost    = 253
	maxCheckService = 256
	maxStatusRanges = 8

	checkPathPattern = "^/[!-\"$-~]*$"
	checkHostPattern = `^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])$`
)

var (
	checkPath = regexp.MustCompile(checkPathPattern)
	checkHost = regexp.MustCompile(checkHostPattern)

	checkInterval = times{100 * time.Millisecond, 10 * time.Minute}
	checkTimeout  = times{time.Millisecond, 10 * time.Minute}
	threshold     = counts{1, 100}
	portNumber    = counts{1, 65535}
	anyStatus     = counts{100, 599}
)

func (h *HealthCheck) fill() {
	if h.Interval == "" {
		h.Interval = defaultCheckInterval
	}
	if h.Timeout == "" {
		h.Timeout = defaultCheckTimeout
		if h.IntervalLength() < h.TimeoutLength() {
			h.Timeout = h.Interval
		}
	}
	orDefault(&h.HealthyThreshold, defaultHealthy)
	orDefault(&h.UnhealthyThreshold, defaultUnhealthy)
}

// IntervalLength is 0 for what is no duration.
func (h *HealthCheck) IntervalLength() time.Duration { return lengthOf(h.Interval) }

// TimeoutLength is 0 for what is no duration.
func (h *HealthCheck) TimeoutLength() time.Duration { return lengthOf(h.Timeout) }

func lengthOf(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

const (
	oneCheck     = "set exactly one of http, grpc, tcp"
	timeoutOrder = "timeout must not be more than interval"
	statusOrder  = "min must not be above max"
	ownPodsOnly  = "how pods are asked is said in their own namespace: leave healthCheck to it, " +
		"or the targets of another namespace to a policy without it"
)

func (h *HealthCheck) validate(path *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	var errs field.ErrorList
	set := 0
	for _, is := range []bool{h.HTTP != nil, h.GRPC != nil, h.TCP != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		errs = append(errs, field.Required(path, oneCheck))
	}
	errs = append(errs, h.HTTP.validate(path.Child("http"))...)
	if h.GRPC != nil && len(h.GRPC.Service) > maxCheckService {
		errs = append(errs, field.TooLong(path.Child("grpc", "service"), "", maxCheckService))
	}
	errs = append(errs, checkInterval.validate(path.Child("interval"), h.Interval)...)
	errs = append(errs, checkTimeout.validate(path.Child("timeout"), h.Timeout)...)
	if every := h.IntervalLength(); every > 0 && h.TimeoutLength() > every {
		errs = append(errs, field.Invalid(path.Child("timeout"), h.Timeout, timeoutOrder))
	}
	errs = append(errs, threshold.validate(path.Child("healthyThreshold"), h.HealthyThreshold)...)
	errs = append(errs, threshold.validate(
		path.Child("unhealthyThreshold"), h.UnhealthyThreshold)...)
	return append(errs, portNumber.validate(path.Child("port"), h.Port)...)
}

func (h *HTTPCheck) validate(path *field.Path) field.ErrorList {
	if h == nil {
		return nil
	}
	var errs field.ErrorList
	if len(h.Path) > maxCheckPath || !checkPath.MatchString(h.Path) {
		errs = append(errs, field.Invalid(path.Child("path"), h.Path,
			"must begin with /, and have nothing in it that must be escaped"))
	}
	if h.Host != "" && (len(h.Host) > maxCheckHost || !checkHost.MatchString(h.Host)) {
		errs = append(errs, field.Invalid(path.Child("host"), h.Host,
			"must be a name or an address, without a port"))
	}
	statuses := path.Child("expectedStatuses")
	errs = append(errs, atMost(statuses, len(h.ExpectedStatuses), maxStatusRanges)...)
	for i := range h.ExpectedStatuses {
		s := &h.ExpectedStatuses[i]
		errs = append(errs, anyStatus.validate(statuses.Index(i).Child("min"), &s.Min)...)
		errs = append(errs, anyStatus.validate(statuses.Index(i).Child("max"), &s.Max)...)
		if s.Min > s.Max {
			errs = append(errs, field.Invalid(statuses.Index(i), s.Min, statusOrder))
		}
	}
	return errs
}

// validateOwner refuses a check of other namespaces' pods.
func (p *BackendTrafficPolicy) validateOwner(spec *field.Path) field.ErrorList {
	if p.Spec.HealthCheck == nil {
		return nil
	}
	for i := range p.Spec.TargetRefs {
		namespace, _ := p.Spec.TargetRefs[i].Service(p.Namespace)
		if p.Namespace != "" && namespace != p.Namespace {
			return field.ErrorList{field.Forbidden(spec.Child("healthCheck"), ownPodsOnly)}
		}
	}
	return nil
}

func healthCheckSchema() schemaProps {
	service := text("Empty: the server as a whole.", maxCheckService)
	out := object("Each pod's proxy asks the application. Who is not well gets no calls.", props{
		"http": httpCheckSchema(),
		"grpc": object("Check of grpc.health.v1.Health.", props{"service": service}),
		"tcp":  object("A connection.", nil),
		"interval": withDefault(checkInterval.schema(
			"From one check to the next."), defaultCheckInterval),
		"timeout": checkTimeout.schema("Of one check; 1s, or the interval if that is less."),
		"healthyThreshold": withDefault(threshold.schema(
			"This many in a row, and the pod is well again."), defaultHealthy),
		"unhealthyThreshold": withDefault(threshold.schema(
			"This many in a row, and it is not."), defaultUnhealthy),
		"port": portNumber.schema("Of the pod; the one that is called where it is not said."),
	})
	out.XValidations = []apix.ValidationRule{
		rule("[has(self.http), has(self.grpc), has(self.tcp)].filter(is, is).size() == 1",
			oneCheck),
		rule(fmt.Sprintf("!has(self.interval) || !has(self.timeout) || "+
			"!self.interval.matches('%[1]s') || !self.timeout.matches('%[1]s') || "+
			"duration(self.timeout) <= duration(self.interval)", durationPattern), timeoutOrder),
	}
	return out
}

func httpCheckSchema() schemaProps {
	path := text("With its query.", maxCheckPath)
	path.Pattern = checkPathPattern
	host := text("Empty: the address that is asked.", maxCheckHost)
	host.Pattern = checkHostPattern
	between := object("Both ends included.", props{
		"min": anyStatus.schema(""), "max": anyStatus.schema(""),
	}, "min", "max")
	between.XValidations = []apix.ValidationRule{rule("self.min <= self.max", statusOrder)}
	return object("A GET.", props{
		"path": path, "host": host,
		"expectedStatuses": list("Of a good answer; 200 to 299 where none is said.",
			maxStatusRanges, between),
	}, "path")
}
