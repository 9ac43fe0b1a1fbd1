package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	// fieldManager is who the weights are of, to the API server.
	fieldManager = "meshctl-canary"
	// pollInterval is how often a route's status is read while it is awaited.
	pollInterval = 500 * time.Millisecond
)

// Choice says which of a route's rules and backends are meant, where that is not plain.
type Choice struct {
	Rule   string // its name, or its number from 0; "": the only one with two backends
	Canary string // the new version's Service; "": the second of the two
}

// Route is the two versions in a route, and a way to change their weights.
type Route struct {
	Service Backend // the parent, which callers call
	Stable  Backend // the old version
	Canary  Backend // the new one

	in     dynamic.ResourceInterface
	name   string // of the route
	choice Choice
}

// Backend is a Service's port.
type Backend struct {
	Namespace, Name string
	Port            int32
}

// Has reports whether a cluster's name, as proxies report it, is this backend's:
// "web-v2.shop.svc.cluster.local:80". How the cluster's names end is not known here.
func (b Backend) Has(cluster string) bool {
	return strings.HasPrefix(cluster, b.Name+"."+b.Namespace+".svc.") &&
		strings.HasSuffix(cluster, ":"+strconv.Itoa(int(b.Port)))
}

// object is what routes of both kinds have alike, as far as it matters here.
type object struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Spec     struct {
		gatewayv1.CommonRouteSpec `json:",inline"`
		Rules                     []rule `json:"rules"`
	} `json:"spec"`
	Status gatewayv1.RouteStatus `json:"status"`
}

type rule struct {
	Name        string                 `json:"name"`
	BackendRefs []gatewayv1.BackendRef `json:"backendRefs"`
}

// Find reads a route and finds the two versions in it.
func Find(
	ctx context.Context, in dynamic.ResourceInterface, name string, choice Choice,
) (*Route, error) {
	r := &Route{in: in, name: name, choice: choice}
	now, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	if r.Service, err = now.parent(); err != nil {
		return nil, err
	}
	r.Stable, r.Canary = now.backend(now.stable), now.backend(now.canary)
	if r.Stable == r.Canary {
		return nil, fmt.Errorf("both backends of route %s are %s: a canary needs two Services",
			name, r.Canary.Name)
	}
	return r, nil
}

// reading is a route at a moment.
type reading struct {
	*object
	rule           int
	stable, canary int // of the rule's backends
}

func (r *Route) read(ctx context.Context) (*reading, error) {
	raw, err := r.in.Get(ctx, r.name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read route %s: %w", r.name, err)
	}
	text, err := raw.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("read route %s: %w", r.name, err)
	}
	now := &reading{object: &object{}}
	if err := json.Unmarshal(text, now.object); err != nil {
		return nil, fmt.Errorf("read route %s: %w", r.name, err)
	}
	return now, now.choose(r.choice)
}

// choose finds the rule and its backends.
func (n *reading) choose(c Choice) error {
	var fit []int
	for i, u := range n.Spec.Rules {
		named := c.Rule == "" || c.Rule == u.Name || c.Rule == strconv.Itoa(i)
		if named && len(u.BackendRefs) == 2 {
			fit = append(fit, i)
		}
	}
	if len(fit) != 1 {
		return fmt.Errorf("route %s has %d rules with two backends%s: a canary is one "+
			"(--rule says which)", n.Metadata.Name, len(fit), called(c.Rule))
	}
	n.rule, n.stable, n.canary = fit[0], 0, 1
	refs := n.Spec.Rules[n.rule].BackendRefs
	if c.Canary == "" || string(refs[1].Name) == c.Canary {
		return nil
	}
	if string(refs[0].Name) != c.Canary {
		return fmt.Errorf("route %s has the backends %s and %s, and not %s", n.Metadata.Name,
			refs[0].Name, refs[1].Name, c.Canary)
	}
	n.stable, n.canary = 1, 0
	return nil
}

func called(rule string) string {
	if rule == "" {
		return ""
	}
	return fmt.Sprintf(" that are called %q", rule)
}

func (n *reading) backend(i int) Backend {
	ref := n.Spec.Rules[n.rule].BackendRefs[i]
	namespace, name, _ := crd.BackendService(&ref.BackendObjectReference, n.Metadata.Namespace)
	out := Backend{Namespace: namespace, Name: name}
	if ref.Port != nil {
		out.Port = *ref.Port
	}
	return out
}

// parent is the Service whose calls are routed.
func (n *reading) parent() (Backend, error) {
	var out []Backend
	for i := range n.Spec.ParentRefs {
		namespace, name, ok := crd.ParentService(&n.Spec.ParentRefs[i], n.Metadata.Namespace)
		if b := (Backend{Namespace: namespace, Name: name}); ok && !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	if len(out) != 1 {
		return Backend{}, fmt.Errorf("route %s has %d Services as parents: a canary is measured "+
			"by the calls of one", n.Metadata.Name, len(out))
	}
	return out[0], nil
}

func (n *reading) weight(i int) int32 {
	if w := n.Spec.Rules[n.rule].BackendRefs[i].Weight; w != nil {
		return *w
	}
	return 1 // the Gateway API's default
}

// percent is the canary's share.
func (n *reading) percent() int {
	stable, canary := int64(n.weight(n.stable)), int64(n.weight(n.canary))
	if stable+canary == 0 {
		return 0
	}
	return int(canary * whole / (stable + canary))
}

// Weight reads the new version's percentage.
func (r *Route) Weight(ctx context.Context) (int, error) {
	now, err := r.read(ctx)
	if err != nil {
		return 0, err
	}
	return now.percent(), nil
}

// Set changes the two weights, unless the new version's percentage is not was any more, and waits
// until the mesh has accepted the route as it is then. It tries until the context ends, for the
// API server may be busy; what it is not allowed to do it does not try again.
func (r *Route) Set(ctx context.Context, was, is int) error {
	for {
		now, err := r.read(ctx)
		if err == nil && now.percent() != was {
			return fmt.Errorf("%w (the new version had %d %%, and has %d %%)", ErrTaken, was,
				now.percent())
		}
		if err == nil {
			err = r.patch(ctx, now, is)
		}
		if err == nil {
			return r.accepted(ctx)
		}
		if final(err) || !sleep(ctx, pollInterval) {
			return err
		}
	}
}

// final are errors that do not go away. A patch is Invalid where its tests fail: somebody has
// written meanwhile, and what they wrote is read again.
func final(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) ||
		apierrors.IsNotFound(err) || meta.IsNoMatchError(err)
}

// patch changes the weights and nothing else, and only where they and the names beside them are
// what was read (RFC 6902, section 4.6): so that no resourceVersion is needed, and what others
// change elsewhere in the route does no harm.
func (r *Route) patch(ctx context.Context, now *reading, canary int) error {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	var out []operation
	var weights [2]int
	weights[now.stable], weights[now.canary] = whole-canary, canary
	for i, weight := range weights {
		path := fmt.Sprintf("/spec/rules/%d/backendRefs/%d/", now.rule, i)
		out = append(out, operation{"test", path + "name",
			now.Spec.Rules[now.rule].BackendRefs[i].Name})
		if w := now.Spec.Rules[now.rule].BackendRefs[i].Weight; w != nil {
			out = append(out, operation{"test", path + "weight", *w})
		}
		out = append(out, operation{"add", path + "weight", weight})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode a patch: %w", err)
	}
	_, err = r.in.Patch(ctx, r.name, types.JSONPatchType, text,
		metav1.PatchOptions{FieldManager: fieldManager})
	if err != nil {
		return fmt.Errorf("patch the weights of route %s: %w", r.name, err)
	}
	return nil
}

// accepted waits until the mesh says that it obeys the route as it is now.
func (r *Route) accepted(ctx context.Context) error {
	for {
		now, err := r.read(ctx)
		if err == nil {
			var done bool
			if done, err = now.accepted(); done {
				return err
			}
		}
		if !sleep(ctx, pollInterval) {
			return fmt.Errorf("the mesh has not accepted route %s: %w", r.name, err)
		}
	}
}

// accepted says whether the mesh has read this generation of the route, and what is wrong with it.
// Until then the error says what is missing.
func (n *reading) accepted() (done bool, err error) {
	for _, p := range n.Status.Parents {
		if p.ControllerName != names.GatewayController {
			continue
		}
		c := meta.FindStatusCondition(p.Conditions, string(gatewayv1.RouteConditionAccepted))
		if c == nil || c.ObservedGeneration < n.Metadata.Generation {
			continue
		}
		if c.Status != metav1.ConditionTrue {
			return true, fmt.Errorf("the mesh does not obey the route: %s: %s", c.Reason, c.Message)
		}
		return true, nil
	}
	return false, fmt.Errorf("its status has no word of %s on generation %d: does "+
		"tulle-destination run?", names.GatewayController, n.Metadata.Generation)
}
