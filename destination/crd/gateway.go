package crd

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The kinds of the Gateway API that attach to Services. Their types and their
// CustomResourceDefinitions are that project's; what is said here is how the mesh reads them.
const (
	HTTPRoute = "HTTPRoute"
	GRPCRoute = "GRPCRoute"
	TLSRoute  = "TLSRoute"
	TCPRoute  = "TCPRoute"

	BackendTLSPolicy = "BackendTLSPolicy" // is not obeyed, and told so
)

// The resources of those kinds.
const (
	HTTPRoutes = "httproutes"
	GRPCRoutes = "grpcroutes"
	TLSRoutes  = "tlsroutes"
	TCPRoutes  = "tcproutes"

	BackendTLSPolicies = "backendtlspolicies"
)

// GatewayResource is what a dynamic client asks for.
func GatewayResource(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{
		Group: gatewayv1.GroupName, Version: gatewayv1.GroupVersion.Version, Resource: resource,
	}
}

// The reasons that conditions of routes have in the Gateway API, and beside them Conflicted, which
// GEP-1294 names and its Go types do not.
const (
	ReasonNoMatchingParent    = string(gatewayv1.RouteReasonNoMatchingParent)
	ReasonUnsupportedValue    = string(gatewayv1.RouteReasonUnsupportedValue)
	ReasonIncompatibleFilters = string(gatewayv1.RouteReasonIncompatibleFilters)
	ReasonInvalidKind         = string(gatewayv1.RouteReasonInvalidKind)
	ReasonBackendNotFound     = string(gatewayv1.RouteReasonBackendNotFound)
	ReasonUnsupportedProtocol = string(gatewayv1.RouteReasonUnsupportedProtocol)
	ReasonConflicted          = "Conflicted"
)

// Problem is something in an object that cannot be done as the object says.
//
// +kubebuilder:object:generate=false
type Problem struct {
	Reason string // the Gateway API's
	Text   string
}

func (p *Problem) Error() string { return p.Text }

// Problemf is a Problem with a text for people.
func Problemf(reason, format string, args ...any) *Problem {
	return &Problem{Reason: reason, Text: fmt.Sprintf(format, args...)}
}

// ParentService returns the Service that a route's parent is, and whether it is one: any other
// parent, such as a Gateway, is somebody else's.
func ParentService(
	ref *gatewayv1.ParentReference, routeNamespace string,
) (namespace, name string, ok bool) {
	// without a group and a kind it is a Gateway
	if ref.Group == nil || ref.Kind == nil || !isService(*ref.Group, *ref.Kind) {
		return "", "", false
	}
	namespace = routeNamespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	return namespace, string(ref.Name), true
}

// TargetsService reports whether a policy of the Gateway API's is about a Service there.
func TargetsService(ref *gatewayv1.LocalPolicyTargetReferenceWithSectionName) bool {
	return isService(ref.Group, ref.Kind)
}

// BackendService returns the Service that a backend is, and whether it is one.
func BackendService(
	ref *gatewayv1.BackendObjectReference, routeNamespace string,
) (namespace, name string, ok bool) {
	namespace = routeNamespace
	if ref.Namespace != nil {
		namespace = string(*ref.Namespace)
	}
	group, kind := gatewayv1.Group(""), gatewayv1.Kind("Service")
	if ref.Group != nil {
		group = *ref.Group
	}
	if ref.Kind != nil {
		kind = *ref.Kind
	}
	return namespace, string(ref.Name), isService(group, kind)
}

// isService takes "core", too: the documentation of Kubernetes calls the group so, and users write
// it.
func isService(group gatewayv1.Group, kind gatewayv1.Kind) bool {
	return (group == "" || group == "core") && kind == "Service"
}

// gatewayDuration is the format of GEP-2257: what time.ParseDuration takes, without signs,
// fractions, and units that are shorter than a millisecond.
var gatewayDuration = regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)

// ParseGatewayDuration reads a duration of the Gateway API.
func ParseGatewayDuration(d gatewayv1.Duration) (time.Duration, error) {
	if !gatewayDuration.MatchString(string(d)) {
		return 0, errors.New("must be a duration such as 500ms or 1m30s")
	}
	return time.ParseDuration(string(d))
}
