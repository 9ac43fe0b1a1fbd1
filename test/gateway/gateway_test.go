// Package gateway runs the mesh tests of Gateway API's conformance suite on the cluster that
// KUBECONFIG names, where Tulle is installed. It is a module of its own, so that what the suite
// needs stays out of Tulle's. `make gateway` runs it.
package gateway

import (
	"flag"
	"io/fs"
	"os"
	"testing"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/apis/v1alpha2"
	"sigs.k8s.io/gateway-api/apis/v1alpha3"
	xv1alpha1 "sigs.k8s.io/gateway-api/apisx/v1alpha1"
	"sigs.k8s.io/gateway-api/conformance"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/tests"
	timeouts "sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

var (
	report = flag.String("report", "", "file to write the report to")
	only   = flag.String("only", "", "the one test to run, by its short name")
	of     = flag.String("of", "dev", "version of Tulle that the report names")
)

// all is a profile that counts every mesh test. The official ones leave out those that need a
// feature of HTTPRoute beside the mesh's own (see unscored).
const all suite.ConformanceProfileName = "MESH-ALL"

// unscored are the features that the official profiles of meshes do not know, and that tests of
// meshes need: MeshFrontend, MeshFrontendHostname, MeshConsumerRoute, MeshPorts, three redirects.
var unscored = []features.FeatureName{
	features.SupportHTTPRouteResponseHeaderModification,
	features.SupportHTTPRouteParentRefPort,
	features.SupportHTTPRoute303RedirectStatusCode,
	features.SupportHTTPRoute307RedirectStatusCode,
	features.SupportHTTPRoute308RedirectStatusCode,
}

func TestMesh(t *testing.T) {
	if os.Getenv("KUBECONFIG") == "" {
		t.Skip("KUBECONFIG names no cluster: use make gateway")
	}
	extended := features.SetsToNamesSet(features.MeshExtendedFeatures)
	extended.Insert(append(unscored, grpcHeaders)...)
	tests.ConformanceTests = append(tests.ConformanceTests, headersOfGRPC)
	core := suite.FeaturesSet{}.Insert(
		features.SupportMesh, features.SupportHTTPRoute, features.SupportGRPCRoute)
	suite.RegisterConformanceProfile(suite.ConformanceProfile{
		Name: all, CoreFeatures: core, ExtendedFeatures: extended,
	})
	log.SetLogger(logr.Discard()) // of the clients
	options := clients(t)
	options.ConfigurableOptions = suite.ConfigurableOptions{
		SupportedFeatures: extended.Union(core).UnsortedList(),
		ConformanceProfiles: []suite.ConformanceProfileName{
			suite.MeshHTTPConformanceProfileName, suite.MeshGRPCConformanceProfileName, all,
		},
		NamespaceLabels:      map[string]string{"tulle.dev/inject": "enabled"},
		CleanupBaseResources: true, CleanupTestResources: true,
		RunTest: *only, ReportOutputPath: *report, Mode: "default",
		TimeoutConfig: timeouts.DefaultTimeoutConfig(),
		Implementation: confv1.Implementation{
			Organization: "tulle-mesh", Project: "tulle", Version: *of,
			URL:     "https://github.com/tulle-mesh/tulle",
			Contact: []string{"@tulle-mesh/maintainers"},
		},
	}
	conformance.RunConformanceWithOptions(t, options)
}

// clients are the suite's. It makes more of its own for each test, with client-go's global scheme.
func clients(t *testing.T) (o suite.ConformanceOptions) {
	t.Helper()
	cfg, err := config.GetConfig() // without a limit of requests a second, which would starve execs
	if err != nil {
		t.Fatal(err)
	}
	if o.Client, err = client.New(cfg, client.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, install := range []func(*runtime.Scheme) error{
		gatewayv1.Install, v1alpha2.Install, v1alpha3.Install, xv1alpha1.Install,
		apiextensionsv1.AddToScheme,
	} {
		if err := install(o.Client.Scheme()); err != nil {
			t.Fatal(err)
		}
	}
	if o.Clientset, err = kubernetes.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	o.RestConfig, o.ManifestFS = cfg, []fs.FS{&conformance.Manifests, ours}
	return o
}
