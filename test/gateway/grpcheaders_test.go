package gateway

import (
	"embed"
	"testing"

	"sigs.k8s.io/gateway-api/conformance/utils/echo"
	"sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// ours are the manifests of the tests here.
//
//go:embed grpcheaders.yaml
var ours embed.FS

// grpcHeaders keeps a test of ours out of the official profiles: no version of the suite that is
// used here has it.
const grpcHeaders features.FeatureName = "MeshGRPCRouteRequestHeaderModifier"

// headersOfGRPC is what the suite asks of a mesh since v1.7: a GRPCRoute changes the headers that a
// backend sees.
var headersOfGRPC = suite.ConformanceTest{
	ShortName:   "MeshGRPCRouteRequestHeaderModifier",
	Description: "A GRPCRoute sets, adds and removes the headers of requests",
	Manifests:   []string{"grpcheaders.yaml"},
	Features: []features.FeatureName{
		features.SupportMesh, features.SupportGRPCRoute, grpcHeaders,
	},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		caller := echo.ConnectToApp(t, s, echo.MeshAppEchoV1)
		for _, c := range []struct {
			name, backend string
			sent, seen    map[string]string
			absent        []string
		}{
			{name: "set", backend: "echo-v1", seen: map[string]string{"X-Set": "by-the-route"}},
			{name: "set", backend: "echo-v1", sent: map[string]string{"X-Set": "by-the-caller"},
				seen: map[string]string{"X-Set": "by-the-route"}},
			{name: "add", backend: "echo-v1", seen: map[string]string{"X-Add": "by-the-route"}},
			{name: "add", backend: "echo-v1", sent: map[string]string{"X-Add": "by-the-caller"},
				seen: map[string]string{"X-Add": "by-the-caller,by-the-route"}},
			{name: "remove", backend: "echo-v1",
				sent:   map[string]string{"X-Remove": "by-the-caller"},
				absent: []string{"X-Remove"}},
			{name: "all", backend: "echo-v2",
				sent: map[string]string{"X-Remove": "by-the-caller", "X-Other": "stays"},
				seen: map[string]string{
					"X-Set": "by-the-route", "X-Add": "by-the-route", "X-Other": "stays",
				},
				absent: []string{"X-Remove"}},
		} {
			t.Run(c.name, func(t *testing.T) {
				sent := map[string]string{"X-Case": c.name}
				for name, value := range c.sent {
					sent[name] = value
				}
				caller.MakeRequestAndExpectEventuallyConsistentResponse(t, http.ExpectedResponse{
					Request: http.Request{Protocol: "grpc", Host: "echo:7070", Headers: sent},
					ExpectedRequest: &http.ExpectedRequest{
						Request: http.Request{Headers: c.seen}, AbsentHeaders: c.absent,
					},
					Response: http.Response{StatusCodes: []int{200}}, Backend: c.backend,
					Namespace: suite.MeshNamespace,
				}, s.TimeoutConfig)
			})
		}
	},
}
