package status

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/identity/names"
)

// patchParents writes what is wanted of a route. Its parents are one value to the API server, which
// cannot merge them: so what others say there is read, and written again as it is, unless somebody
// has written meanwhile.
func patchParents(ctx context.Context, in dynamic.ResourceInterface, report *Report) error {
	name := report.Ref.Name.Name
	route, err := in.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var has []any // nil where the status is not there, or null
	if field, _, err := unstructured.NestedFieldNoCopy(
		route.Object, "status", "parents"); err == nil {
		has, _ = field.([]any)
	}
	parents, err := mergeParents(has, report.Want.Parents)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": route.GetResourceVersion()},
		"status":   map[string]any{"parents": parents},
	})
	if err != nil {
		return fmt.Errorf("encode a status: %w", err)
	}
	_, err = in.Patch(ctx, name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager}, "status")
	return err
}

// mergeParents puts our entries in place of those we had, and leaves the others and their order.
func mergeParents(has []any, want []gatewayv1.RouteParentStatus) ([]any, error) {
	out := []any{} // the API server wants a list, be it empty
	want = slices.Clone(want)
	for _, entry := range has {
		var parent gatewayv1.RouteParentStatus
		content, _ := entry.(map[string]any)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(
			content, &parent); err != nil {
			return nil, fmt.Errorf("read a status: %w", err)
		}
		i := indexOf(want, parent.ParentRef)
		switch {
		case parent.ControllerName != names.GatewayController:
			out = append(out, entry)
		case i >= 0:
			out = append(out, begun(want[i]))
			want = slices.Delete(want, i, i+1)
		}
	}
	for i := range want {
		out = append(out, begun(want[i]))
	}
	return out, nil
}

// begun is the entry with a time for conditions that are new.
func begun(p gatewayv1.RouteParentStatus) gatewayv1.RouteParentStatus {
	p.Conditions = slices.Clone(p.Conditions)
	for i := range p.Conditions {
		if c := &p.Conditions[i]; c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = metav1.Now()
		}
	}
	return p
}
