package cli

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/status"
	"github.com/tulle-mesh/tulle/identity/names"
)

// checkPolicies looks for policies that do nothing, and says why, as destination has it.
func (c *checker) checkPolicies(ctx context.Context) {
	c.begin("policies")
	for _, resource := range []schema.GroupVersionResource{
		crd.BackendTrafficPolicyResource(), crd.RateLimitPolicyResource(),
		crd.FaultInjectionResource(), crd.TelemetryPolicyResource(),
		crd.ServiceLevelObjectiveResource(),
	} {
		c.checkPoliciesOf(ctx, resource)
	}
}

func (c *checker) checkPoliciesOf(ctx context.Context, resource schema.GroupVersionResource) {
	check := "all " + resource.Resource + " are in force"
	next := fmt.Sprintf("kubectl get %s.%s -A -o yaml", resource.Resource, resource.Group)
	list, err := c.dynamic.Resource(resource).List(ctx, metav1.ListOptions{})
	if err != nil {
		c.fail(check, err.Error(), next)
		return
	}
	var idle []string
	for i := range list.Items {
		p := &list.Items[i]
		if why := whyIdle(p); why != "" {
			idle = append(idle, p.GetNamespace()+"/"+p.GetName()+": "+why)
		}
	}
	c.listed(check, warning, idle, len(list.Items), next)
}

// whyIdle says why a policy is not in force at one of its targets, or is not used by a proxy, or
// "". Of one that destination has not spoken of yet it knows nothing.
func whyIdle(p *unstructured.Unstructured) string {
	var said struct {
		Status gatewayv1.PolicyStatus `json:"status"`
	}
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(p.Object, &said)
	if err != nil {
		return err.Error()
	}
	for _, ancestor := range said.Status.Ancestors {
		if ancestor.ControllerName != names.GatewayController {
			continue
		}
		for _, condition := range ancestor.Conditions {
			refused := condition.Type == status.Accepted || condition.Type == status.Programmed
			if refused && condition.Status == metav1.ConditionFalse {
				return condition.Message
			}
		}
	}
	return ""
}
