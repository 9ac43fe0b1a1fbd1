package destination

import (
	"net/netip"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// Mesh is what destination is told about the mesh, and cannot read from the cluster.
type Mesh struct {
	TrustDomain   spiffeid.TrustDomain
	ClusterDomain string // "cluster.local"
	Strict        bool   // the mode of workloads that say none
	LocalMesh     bool   // believe tulle.dev/mesh-address: a mesh on one machine, from files
	// Replica is the pod that this process runs in. The others of its Service are told what proxies
	// say to this one, and tell it. Without a name there are none.
	Replica registry.Name
	// Zones are DNS zones of others, in which there are no names but those that sources know.
	Zones []string

	// Networks of pods and services, in place of those that the cluster names. Unknown addresses in
	// them are refused: they may be meshed pods' that are not known yet.
	Networks []netip.Prefix
	// DenyUnknown refuses all other unknown addresses too, and names.
	DenyUnknown bool
	// Tracing is what proxies are told of it, but for what annotations say; nil: nothing.
	Tracing *api.Tracing
}

// view reads the registry for one mesh.
type view struct {
	*registry.View
	mesh   *Mesh
	unseen bool // a service's endpoint names a workload that the registry does not have
	used   []registry.PolicyRef
}

func (m *Mesh) read(reg *registry.Registry, f func(*view)) {
	reg.Read(func(v *registry.View) { f(&view{View: v, mesh: m}) })
}

// inNetworks says whether an address is one that only the cluster can have given.
func (v *view) inNetworks(addr netip.Addr) bool {
	if len(v.mesh.Networks) > 0 {
		return slices.ContainsFunc(v.mesh.Networks, func(network netip.Prefix) bool {
			return network.Contains(addr)
		})
	}
	in, known := v.InServiceNetwork(addr)
	return in || !known && v.inServiceBlock(addr) || v.InNodeNetwork(addr)
}

// The largest networks that an API server gives services addresses from, where it does not say
// which (before Kubernetes 1.33): kube-apiserver refuses a --service-cluster-ip-range of more than
// 20 bits.
const (
	serviceBlock4 = 32 - 20
	serviceBlock6 = 128 - 20
)

// inServiceBlock says whether an address may be a service's, by where the API server's own is.
func (v *view) inServiceBlock(addr netip.Addr) bool {
	server := v.Service(registry.Name{Namespace: "default", Name: "kubernetes"})
	if server == nil {
		return false
	}
	return slices.ContainsFunc(server.Addresses, func(own netip.Addr) bool {
		bits := serviceBlock4
		if own.Is6() {
			bits = serviceBlock6
		}
		return netip.PrefixFrom(own, bits).Masked().Contains(addr)
	})
}

// annotation returns the nearest that is set, and whether any is: the object's own, then its
// namespace's.
func (v *view) annotation(own *registry.Meta, key string) (string, bool) {
	value, ok, _ := v.annotationOf(own, key)
	return value, ok
}

// annotationOf is annotation; inherited: it is the namespace's.
func (v *view) annotationOf(
	own *registry.Meta, key string,
) (value string, ok, inherited bool) {
	if value, ok = own.Annotations[key]; ok {
		return value, true, false
	}
	if ns := v.Namespace(own.Namespace); ns != nil {
		value, ok = ns.Annotations[key]
	}
	return value, ok, ok
}
