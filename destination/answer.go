package destination

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

// question is all that an answer depends on beside the state. Callers with the same question share
// a cell.
type question struct {
	address, authority string // outbound: one of the two
	namespace          string // the caller's
	pod                string // inbound and self: the caller's
	port               uint32
	self               bool               // what the caller is told about itself
	kept               string             // or a cluster, by the name that a proxy knows it by
	cluster            clusterRef         // or what a Route refers to
	endpoints          bool               // of it the endpoints alone
	report             registry.PolicyRef // or what a policy's status should say
	policies           bool               // or which policies there are
	peers              bool               // or where the other replicas of destination are
}

// question is what a key asks when this caller asks it.
func (c caller) question(key *api.Key) question {
	switch k := key.GetKey().(type) {
	case *api.Key_Address:
		return question{address: k.Address, namespace: c.namespace}
	case *api.Key_Authority:
		return question{authority: k.Authority, namespace: c.namespace}
	case *api.Key_InboundPort:
		return question{port: k.InboundPort, namespace: c.namespace, pod: c.pod}
	case *api.Key_Cluster:
		return question{kept: k.Cluster}
	case *api.Key_Self:
		return question{self: true, namespace: c.namespace, pod: c.pod}
	}
	return question{}
}

// caller is who asks.
type caller struct {
	namespace string
	pod, uid  string // empty where identity attested none
	// The pod's node, and where that is; empty where unknown.
	node, zone, region string
}

// runsAs says where a caller is. Its node's zone is that of when it asked first: nodes do not move.
func (c *caller) runsAs(v *view, w *registry.Workload) {
	c.node, c.uid = w.Node, w.UID
	if node := v.Node(w.Node); node != nil {
		c.zone, c.region = node.Labels.Get(labelZone), node.Labels.Get(labelRegion)
	}
}

// locality is where a caller is, or nil.
func (c *caller) locality() *api.Locality {
	if c.node == "" {
		return nil
	}
	return &api.Locality{Region: c.region, Zone: c.zone, Node: c.node}
}

// resource is a published version of a resource. It never changes.
type resource struct {
	id       resourceID
	version  string
	snapshot *api.Resource
	parts    []*api.Resource            // the snapshot, as it is sent
	needs    []string                   // capabilities without which a proxy cannot use it
	policies []registry.PolicyRef       // what it was made from
	deltas   map[string][]*api.Resource // by the version that each applies to, as it is sent
}

type resourceID struct {
	kind api.Kind
	name string
}

// answer is what a question is answered with. It never changes.
type answer struct {
	resources []*resource
	refs      []clusterRef // the clusters that a Route names
	invalid   string       // why there is no answer
	report    *status.Report
	policies  []registry.PolicyRef
	peers     []string
	// Of a cluster that is divided the endpoints are here, one set for each part of the callers;
	// see resourcesOf.
	subsets []*resource
}

func (a *answer) equal(b *answer) bool {
	return a != nil && a.invalid == b.invalid && slices.Equal(a.refs, b.refs) &&
		a.report.Equal(b.report) && slices.Equal(a.policies, b.policies) &&
		slices.Equal(a.peers, b.peers) &&
		slices.EqualFunc(a.resources, b.resources, (*resource).equal) &&
		slices.EqualFunc(a.subsets, b.subsets, (*resource).equal)
}

func (r *resource) equal(o *resource) bool {
	return r.version == o.version && slices.Equal(r.policies, o.policies)
}

// endpoints is the set of endpoints in the answer, or nil where there is none.
func (a *answer) endpoints() *resource {
	if a == nil {
		return nil
	}
	for _, r := range a.resources {
		if r.id.kind == api.Kind_KIND_ENDPOINTS {
			return r
		}
	}
	return nil
}

// keepLast puts into an answer without endpoints those of the last one that are still good.
func (v *view) keepLast(ref clusterRef, last, next *answer) {
	had, has := last.members(), next.endpoints()
	if had == nil || has == nil || len(next.members()) > 0 {
		return
	}
	has.snapshot.GetEndpoints().Endpoints = v.holdOver(ref, had)
}

// members are all endpoints in the answer, divided or not, in no order.
func (a *answer) members() (all []*api.Endpoint) {
	if a == nil {
		return nil
	}
	for _, r := range a.subsets {
		all = append(all, r.snapshot.GetEndpoints().GetEndpoints()...)
	}
	if r := a.endpoints(); r != nil {
		all = append(all, r.snapshot.GetEndpoints().GetEndpoints()...)
	}
	return all
}

// compute answers a question from the state as it is. The answer must be sealed before it is used.
func (v *view) compute(q question) *answer {
	switch {
	case q.cluster != (clusterRef{}):
		return v.computeCluster(q)
	case q.report != (registry.PolicyRef{}):
		return &answer{report: v.report(q.report)}
	case q.policies:
		return &answer{policies: v.Policies()}
	case q.peers:
		return &answer{peers: v.peers()}
	case q.kept != "":
		return v.computeKept(q.kept)
	case q.self:
		return v.computeConfig(types.NamespacedName{Namespace: q.namespace, Name: q.pod})
	case q.address == "" && q.authority == "":
		return v.computeInbound(q)
	}
	return v.computeOutbound(q)
}

func (v *view) computeOutbound(q question) *answer {
	key := &api.Key{Key: &api.Key_Authority{Authority: q.authority}}
	if q.address != "" {
		key = &api.Key{Key: &api.Key_Address{Address: q.address}}
	}
	route, refs, err := v.outbound(key, q.namespace)
	if err != nil {
		return &answer{invalid: err.Error()}
	}
	r := newResource(api.Kind_KIND_ROUTE, api.KeyString(key),
		&api.Resource{Body: &api.Resource_Route{Route: route}})
	r.policies = v.used
	return &answer{resources: []*resource{r}, refs: refs}
}

// computeCluster answers what a Route refers to: how to use a set of endpoints, and the set. A
// variant's is not with it, and may be asked for alone.
func (v *view) computeCluster(q question) *answer {
	out := &answer{}
	ref := q.cluster
	if !q.endpoints {
		cluster, policies := v.cluster(ref)
		r := newResource(api.Kind_KIND_CLUSTER, v.mesh.resourceName(ref),
			&api.Resource{Body: &api.Resource_Cluster{Cluster: cluster}})
		r.policies = policies
		out.resources = append(out.resources, r)
	}
	if ref.variant == "" {
		v.addEndpoints(out, ref)
	}
	return out
}

// addEndpoints puts a cluster's into its answer: as one resource for all callers, or as one for
// each subset.
func (v *view) addEndpoints(to *answer, ref clusterRef) {
	all := v.endpoints(ref)
	n := subsets(len(all), v.useOf(ref).Subset())
	for _, list := range divided(all, n) {
		endpoints := &api.Endpoints{Endpoints: list}
		r := newResource(api.Kind_KIND_ENDPOINTS, v.mesh.clusterName(ref),
			&api.Resource{Body: &api.Resource_Endpoints{Endpoints: endpoints}})
		if n == 1 {
			to.resources = append(to.resources, r)
		} else {
			to.subsets = append(to.subsets, r)
		}
	}
}

// computeKept refers to the cluster of a name.
func (v *view) computeKept(name string) *answer {
	ref, err := v.refOf(name)
	if err != nil {
		return &answer{invalid: err.Error()}
	}
	return &answer{refs: []clusterRef{ref}}
}

func (v *view) computeInbound(q question) *answer {
	in, err := v.inbound(q.port, types.NamespacedName{Namespace: q.namespace, Name: q.pod})
	if err != nil {
		return &answer{invalid: err.Error()}
	}
	name := api.KeyString(&api.Key{Key: &api.Key_InboundPort{InboundPort: q.port}})
	r := newResource(api.Kind_KIND_INBOUND, name,
		&api.Resource{Body: &api.Resource_Inbound{Inbound: in}})
	r.policies = v.used
	return &answer{resources: []*resource{r}}
}

// versionBytes is how much of a SHA-256 makes a version. Only versions of one resource are
// compared, and no one gains from a collision.
const versionBytes = api.VersionLen / 2

func newResource(kind api.Kind, name string, r *api.Resource) *resource {
	r.Kind, r.Name = kind, name
	return &resource{id: resourceID{kind, name}, snapshot: r}
}

// seal gives each resource its version, and makes it ready to be sent. It is apart from computing
// so that the state's lock is not held meanwhile.
func (a *answer) seal() *answer {
	for _, list := range [][]*resource{a.resources, a.subsets} {
		for _, r := range list {
			if err := r.seal(); err != nil {
				return &answer{invalid: err.Error()}
			}
		}
	}
	return a
}

func (r *resource) seal() error {
	content, err := proto.MarshalOptions{Deterministic: true}.Marshal(r.snapshot)
	if err != nil {
		return fmt.Errorf("encode %s %s: %w", kindName(r.id.kind), r.id.name, err)
	}
	sum := sha256.Sum256(content)
	r.version = hex.EncodeToString(sum[:versionBytes])
	r.snapshot.Version = r.version
	r.needs = slices.Compact(slices.Sorted(slices.Values(r.snapshot.Needs())))
	r.parts = []*api.Resource{r.snapshot}
	switch {
	case len(content) <= maxPart:
	case r.id.kind == api.Kind_KIND_ENDPOINTS:
		r.parts = split(r.snapshot)
	default:
		return fmt.Errorf("%s %s has %d bytes, more than %d: it needs fewer or shorter rules",
			kindName(r.id.kind), r.id.name, len(content), maxPart)
	}
	return nil
}

// keptVersions is how far behind a proxy may be and still get a delta. Each costs a copy of the
// difference.
const keptVersions = 3

// addDeltas makes the ways from earlier versions of a set of endpoints to this one.
func (r *resource) addDeltas(past []*resource) {
	r.deltas = map[string][]*api.Resource{}
	for _, base := range past {
		if delta := r.deltaFrom(base); delta != nil && base.version != r.version {
			r.deltas[base.version] = split(delta)
		}
	}
}

// deltaFrom is nil where the whole is no larger than the difference.
func (r *resource) deltaFrom(base *resource) *api.Resource {
	now, before := r.snapshot.GetEndpoints().GetEndpoints(),
		base.snapshot.GetEndpoints().GetEndpoints()
	delta := &api.EndpointsDelta{}
	old := make(map[string]*api.Endpoint, len(before))
	for _, ep := range before {
		old[ep.Id] = ep
	}
	for _, ep := range now {
		if same := old[ep.Id]; same == nil || !proto.Equal(same, ep) {
			delta.Changed = append(delta.Changed, ep)
		}
		delete(old, ep.Id)
	}
	for _, ep := range before {
		if _, gone := old[ep.Id]; gone {
			delta.Removed = append(delta.Removed, ep.Id)
		}
	}
	if len(delta.Changed)+len(delta.Removed) >= len(now) {
		return nil
	}
	return &api.Resource{
		Kind: r.id.kind, Name: r.id.name, Version: r.version, Base: base.version,
		Body: &api.Resource_EndpointsDelta{EndpointsDelta: delta},
	}
}

// removal says that a resource is no longer the caller's business.
func (id resourceID) removal() *api.Resource {
	return &api.Resource{Kind: id.kind, Name: id.name, Removed: true}
}
