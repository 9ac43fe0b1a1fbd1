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

// list is where a status has an entry for each object that its own refers to.
type list struct{ field, ref string }

var (
	routeParents    = list{"parents", "parentRef"}
	policyAncestors = list{"ancestors", "ancestorRef"} // GEP-713
)

// patch writes what is wanted of an object. The list is one value to the API server, which cannot
// merge it: so what others say there is read, and written again as it is, unless somebody has
// written meanwhile.
func (l list) patch(ctx context.Context, in dynamic.ResourceInterface, report *Report) error {
	name := report.Ref.Name.Name
	object, err := in.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var has []any // nil where the status is not there, or null
	if field, _, err := unstructured.NestedFieldNoCopy(
		object.Object, "status", l.field); err == nil {
		has, _ = field.([]any)
	}
	entries, err := l.merge(has, report.Want.Parents)
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": object.GetResourceVersion()},
		"status":   map[string]any{l.field: entries},
	})
	if err != nil {
		return fmt.Errorf("encode a status: %w", err)
	}
	_, err = in.Patch(ctx, name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fieldManager}, "status")
	return err
}

// merge puts our entries in place of those we had, and leaves the others and their order.
func (l list) merge(has []any, want []gatewayv1.RouteParentStatus) ([]any, error) {
	out := []any{} // the API server wants a list, be it empty
	want = slices.Clone(want)
	for _, entry := range has {
		theirs, err := l.read(entry)
		if err != nil {
			return nil, fmt.Errorf("read a status: %w", err)
		}
		i := indexOf(want, theirs.ParentRef)
		switch {
		case theirs.ControllerName != names.GatewayController:
			out = append(out, entry)
		case i >= 0:
			out = append(out, l.entry(begun(want[i])))
			want = slices.Delete(want, i, i+1)
		}
	}
	for i := range want {
		out = append(out, l.entry(begun(want[i])))
	}
	return out, nil
}

// read says whose an entry is, and of which object.
func (l list) read(entry any) (out gatewayv1.RouteParentStatus, err error) {
	content, _ := entry.(map[string]any)
	err = runtime.DefaultUnstructuredConverter.FromUnstructured(map[string]any{
		"parentRef": content[l.ref], "controllerName": content["controllerName"],
	}, &out)
	return out, err
}

// entry is what the list has of an object.
func (l list) entry(p gatewayv1.RouteParentStatus) any {
	return map[string]any{
		l.ref: p.ParentRef, "controllerName": p.ControllerName, "conditions": p.Conditions,
	}
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
