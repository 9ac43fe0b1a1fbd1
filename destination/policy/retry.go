package policy

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// defaultRetries is how often a request is tried again where a route does not say: once, as the
// Gateway API has it since v1.7.
const defaultRetries = 1

// idempotent are the methods that mean the same twice (RFC 9110 §9.2.2), without TRACE and CONNECT.
var idempotent = []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}

// retries reads what of a rule's requests is tried again. The standard asks for that after answers
// of the codes, and after connection errors and timeouts.
func retries(rule *Rule, in *gatewayv1.HTTPRouteRetry) (wrong []error) {
	if in == nil {
		return nil
	}
	attempts := defaultRetries
	if in.Attempts != nil {
		attempts = *in.Attempts
	}
	if attempts < 0 || attempts >= api.MaxTries {
		wrong = append(wrong, crd.Problemf(crd.ReasonUnsupportedValue,
			"retry.attempts is %d, not 0 to %d", attempts, api.MaxTries-1))
	}
	out := &api.Retry{Listed: true, Methods: idempotent, MaxTries: uint32(attempts + 1)}
	wrong = append(append(wrong, retryCodes(out, in.Codes)...), retryBackoff(out, in.Backoff)...)
	if attempts > 0 {
		rule.Retry = out
	}
	return wrong
}

// retryCodes reads the codes, and what proxies tell callers of gRPC in their place.
func retryCodes(out *api.Retry, codes []gatewayv1.HTTPRouteRetryStatusCode) (wrong []error) {
	for _, code := range codes {
		if code < 400 || code > 599 {
			wrong = append(wrong, crd.Problemf(crd.ReasonUnsupportedValue,
				"retry.codes has %d, which is not 400 to 599", code))
			continue
		}
		out.Statuses = append(out.Statuses, uint32(code))
		if s := grpcStatus[int(code)]; s != 0 && !slices.Contains(out.GrpcStatuses, s) {
			out.GrpcStatuses = append(out.GrpcStatuses, s)
		}
	}
	return wrong
}

// grpcStatus is what gRPC has for a code: RESOURCE_EXHAUSTED, INTERNAL, UNAVAILABLE,
// DEADLINE_EXCEEDED.
var grpcStatus = map[int]uint32{429: 8, 500: 13, 502: 14, 503: 14, 504: 4}

func retryBackoff(out *api.Retry, in *gatewayv1.Duration) (wrong []error) {
	if in == nil {
		return nil
	}
	d, err := crd.ParseGatewayDuration(*in)
	switch {
	case err != nil:
		return []error{fmt.Errorf("retry.backoff %q %w", *in, err)}
	case d == 0 || d > api.MaxBackoff:
		return []error{crd.Problemf(crd.ReasonUnsupportedValue,
			"retry.backoff is %s, not 1ms to %s", *in, api.MaxBackoff)}
	}
	out.BackoffMs = milliseconds(d)
	return nil
}

// ofMethod is a rule's retry for the requests of one match. A rule for every method means
// idempotent requests: who writes it for a whole path may not think of the orders below it. A match
// that names its method means that one.
func ofMethod(base *api.Retry, method *gatewayv1.HTTPMethod) *api.Retry {
	if base == nil || method == nil {
		return base
	}
	out := proto.CloneOf(base)
	out.Methods = []string{string(*method)}
	return out
}
