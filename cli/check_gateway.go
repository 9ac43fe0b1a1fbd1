package cli

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/version"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
)

const (
	// annotationBundle is on every CustomResourceDefinition of the Gateway API, with its release.
	annotationBundle = "gateway.networking.k8s.io/bundle-version"
	// minBundle is the oldest release that is not warned of: since then HTTPRoutes and GRPCRoutes
	// are what they are today, but for fields that were added. TLSRoutes have their version v1
	// since v1.5, TCPRoutes since v1.6.
	minBundle = "v1.2.0"

	installGateway = "kubectl apply --server-side -f https://github.com/kubernetes-sigs/" +
		"gateway-api/releases/download/v1.6.3/standard-install.yaml"
)

// checkGatewayAPI looks at the kinds of routes that are the Gateway API's. Nobody has to have them.
func (c *checker) checkGatewayAPI(ctx context.Context) {
	c.begin("gateway-api")
	for _, resource := range []string{
		crd.HTTPRoutes, crd.GRPCRoutes, crd.TLSRoutes, crd.TCPRoutes,
	} {
		c.checkRoutes(ctx, resource)
	}
}

func (c *checker) checkRoutes(ctx context.Context, resource string) {
	name := resource + "." + gatewayv1.GroupName
	check := name + " can be used"
	definitions := schema.GroupVersionResource{
		Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions",
	}
	definition, err := c.dynamic.Resource(definitions).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.ok("%s is not installed, and nothing needs it", name)
	case err != nil:
		c.fail(check, err.Error(), "kubectl get crd "+name)
	case !serves(definition, gatewayv1.GroupVersion.Version):
		c.warn(check, "its version v1 is not served, so routes are not obeyed", installGateway)
	default:
		c.checkRelease(check, definition.GetAnnotations()[annotationBundle])
	}
}

func serves(definition *unstructured.Unstructured, want string) bool {
	versions, _, err := unstructured.NestedSlice(definition.Object, "spec", "versions")
	return err == nil && slices.ContainsFunc(versions, func(v any) bool {
		one, _ := v.(map[string]any)
		return one["name"] == want && one["served"] == true
	})
}

// checkRelease warns of a release that is older than what the mesh is made for.
func (c *checker) checkRelease(check, release string) {
	has, err := version.ParseSemantic(release)
	if err != nil {
		c.warn(check, fmt.Sprintf("its annotation %s says %q, which is no release",
			annotationBundle, release), installGateway)
		return
	}
	if has.LessThan(version.MustParseSemantic(minBundle)) {
		c.warn(check, "it is of release "+release+", older than "+minBundle, installGateway)
		return
	}
	c.ok("%s (%s)", check, release)
}
