package consul

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// Zone is the DNS zone of the names of services, as Consul's own DNS has it by default: Consul
// knows every name in it.
const Zone = "service.consul"

// Keys of an instance's metadata. Consul takes no dots and slashes in them.
const (
	metaMeshPort = "tulle-mesh-port" // where its proxy takes what is for it, beside its own port
	metaIdentity = "tulle-spiffe-id" // the SPIFFE ID that the proxy proves
)

const (
	// policyPort is the port by which policies know a service that has none.
	policyPort = 80
	// maxTags bounds the tags of a service that have names of their own, in order.
	maxTags = 32
)

// mapping says how instances become objects.
type mapping struct {
	namespace   string
	datacenter  string // where no instance says it
	trustDomain spiffeid.TrustDomain
	loopback    bool // instances may be on this machine
}

// objects are what a service is in the registry: itself, each of its tags as a service TAG.NAME,
// the names in Consul's DNS of all of them, and their endpoints. The error says which instances are
// left out. It is a function of its arguments alone, so every replica has the same.
func (m *mapping) objects(name string, all []instance) ([]registry.Object, error) {
	b := &builder{mapping: m, service: name, tags: append([]string{""}, tagsOf(all)...),
		slices: map[part]*registry.Slice{}}
	var problems []error
	for i := range all {
		if err := b.add(&all[i]); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", all[i].Service.ID, err))
		}
	}
	return b.finish(all), errors.Join(problems...)
}

// tagsOf are the tags that can be a part of a DNS name, in lower case.
func tagsOf(all []instance) []string {
	tags := map[string]bool{}
	for i := range all {
		for _, tag := range all[i].Service.Tags {
			if isLabel(tag) {
				tags[tag] = true
			}
		}
	}
	sorted := slices.Sorted(maps.Keys(tags))
	return sorted[:min(len(sorted), maxTags)]
}

func isLabel(s string) bool { return len(validation.IsDNS1123Label(s)) == 0 }

// builder collects the objects of one service.
type builder struct {
	*mapping
	service string
	tags    []string // "" for the service itself
	slices  map[part]*registry.Slice
}

// part is what a slice's endpoints have in common.
type part struct {
	tag  string
	port uint16
	is6  bool
}

// serviceName is the service's own, or a tag's.
func (b *builder) serviceName(tag string) registry.Name {
	return registry.Name{Namespace: b.namespace, Name: dotted(tag, b.service)}
}

func dotted(tag, name string) string {
	if tag == "" {
		return name
	}
	return tag + "." + name
}

// add puts an instance behind the service and behind its tags.
func (b *builder) add(i *instance) error {
	if i.Service.Kind != "" {
		return nil // a proxy or a gateway of Consul's own mesh is no service to call
	}
	ep, err := b.endpoint(i)
	if err != nil {
		return err
	}
	for _, tag := range b.tags {
		if tag == "" || slices.Contains(i.Service.Tags, tag) {
			b.place(part{tag, uint16(i.Service.Port), ep.Address.Is6()}, ep)
		}
	}
	return nil
}

// place adds an endpoint to its slice. Of two at one address the better one counts: it may have
// been registered by two agents, of which one is gone.
func (b *builder) place(p part, ep registry.Endpoint) {
	slice := b.slices[p]
	if slice == nil {
		slice = b.slice(p)
		b.slices[p] = slice
	}
	other := slice.At(ep.Address)
	switch {
	case other == nil:
		slice.Endpoints = append(slice.Endpoints, ep)
	case other.Weight < ep.Weight:
		*other = ep
	}
}

// slice is an empty one. Its name puts a service's own slices before those of its tags: an address
// that is dialed is taken for the first that lists it.
func (b *builder) slice(p part) *registry.Slice {
	family, name := registry.IPv4, b.service+":"
	if p.is6 {
		family = registry.IPv6
	}
	if p.tag != "" {
		name = b.service + "~" + p.tag + ":"
	}
	name += strconv.Itoa(int(p.port))
	if p.is6 {
		name += "/6"
	}
	return &registry.Slice{
		Meta:    registry.Meta{Namespace: b.namespace, Name: name},
		Service: b.serviceName(p.tag), Family: family, Target: p.port,
	}
}

// endpoint is an instance, ready or not.
func (b *builder) endpoint(i *instance) (registry.Endpoint, error) {
	addr, err := b.address(cmp.Or(i.Service.Address, i.Node.Address))
	if err != nil {
		return registry.Endpoint{}, err
	}
	if i.Service.Port <= 0 || i.Service.Port > 65535 {
		return registry.Endpoint{}, fmt.Errorf("port %d is none", i.Service.Port)
	}
	mesh, err := b.mesh(i.Service.Meta, addr)
	if err != nil {
		return registry.Endpoint{}, err
	}
	weight := i.weight()
	return registry.Endpoint{
		Address: addr, Node: i.Node.Node, Zone: i.Node.Datacenter, Region: i.Node.Datacenter,
		Ready: weight > 0, Serving: weight > 0, Weight: weight, Mesh: mesh,
	}, nil
}

// address refuses what Kubernetes refuses in a slice: whoever may register an instance must not
// make proxies call what listens beside them, or a cloud's metadata.
func (b *builder) address(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("address %q is no IP address", text)
	}
	addr = addr.Unmap().WithZone("")
	if addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() ||
		addr.IsLoopback() && !b.loopback {
		return netip.Addr{}, fmt.Errorf("address %s is none for others to call", addr)
	}
	return addr, nil
}

// mesh is nil for an instance without a proxy. One that says half of it, or an identity that cannot
// be, is not called at all: it would be in plaintext, or by anyone.
func (b *builder) mesh(meta map[string]string, addr netip.Addr) (*registry.Mesh, error) {
	port, identity := meta[metaMeshPort], meta[metaIdentity]
	if port == "" && identity == "" {
		return nil, nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, fmt.Errorf("%s %q beside %s is no port", metaMeshPort, port, metaIdentity)
	}
	id, err := spiffe.ParseWorkload(identity)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", metaIdentity, err)
	}
	if id.TrustDomain() != b.trustDomain {
		return nil, fmt.Errorf("%s %s is not of trust domain %s", metaIdentity, id, b.trustDomain)
	}
	return &registry.Mesh{
		Address: netip.AddrPortFrom(addr, uint16(number)), Identity: id.String(),
	}, nil
}

// finish lists the objects.
func (b *builder) finish(all []instance) (out []registry.Object) {
	zones := []string{Zone}
	if dc := b.datacenterOf(all); dc != "" {
		zones = append(zones, "service."+dc+".consul")
	}
	for _, tag := range b.tags {
		name := b.serviceName(tag)
		out = append(out, &registry.Service{
			Meta:    registry.Meta{Namespace: name.Namespace, Name: name.Name},
			AnyPort: true, Ports: []registry.ServicePort{{Number: policyPort}},
		})
		for _, zone := range zones {
			out = append(out, &registry.Host{
				Meta: registry.Meta{Name: name.Name + "." + zone}, Service: name,
			})
		}
	}
	for _, slice := range b.slices {
		slices.SortFunc(slice.Endpoints, func(x, y registry.Endpoint) int {
			return x.Address.Compare(y.Address)
		})
		out = append(out, slice)
	}
	return out
}

func (b *builder) datacenterOf(all []instance) string {
	dc := b.datacenter
	for i := range all {
		dc = cmp.Or(all[i].Node.Datacenter, dc)
	}
	return strings.ToLower(dc)
}
