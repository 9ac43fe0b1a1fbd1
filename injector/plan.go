package injector

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// Config is what every injected pod is told, the same for the webhook and for `meshctl inject`.
type Config struct {
	Version       string
	TrustDomain   string
	ClusterDomain string // what the names of Services end in; "" is cluster.local
	Namespace     string // the control plane's
	// CIDRs in which an address that destination does not know fails closed; none: those that the
	// cluster names
	ClusterNetworks []string
	OutboundPolicy  string // what becomes of other addresses that it does not know: Allow or Deny
	ProxyImage      string
	PullPolicy      corev1.PullPolicy
	LogLevel        string
	Resources       Resources // of pods whose annotations say nothing else
}

// The outbound policies: what is unknown, and is not the cluster's, is passed on to where it was
// going, or refused.
const (
	Allow = "allow"
	Deny  = "deny"
)

// Networks in which a proxy waits for destination's word before it connects to an address: the
// private ranges that clusters are built in (RFC 1918, RFC 6598, RFC 4193), or all there are.
var (
	privateNetworks = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
		"fd00::/8"}
	allNetworks = []string{"0.0.0.0/0", "::/0"}
)

// asked are the networks about whose addresses a proxy must ask. While destination is away, nothing
// new is connected to in them.
func (c Config) asked() []string {
	switch {
	case c.OutboundPolicy == Deny:
		return allNetworks
	case len(c.ClusterNetworks) > 0:
		return c.ClusterNetworks
	}
	return privateNetworks
}

// Reason says why a pod is left alone. The empty reason is none.
type Reason string

// The reasons, as users read them.
const (
	AlreadyInjected Reason = "already injected"
	Disabled        Reason = "disabled by " + names.AnnotationInject
	HostNetwork     Reason = "host network: redirection there would take the node's own traffic"
	ProxyUID        Reason = "a container runs as user 2102, which is the proxy's: its traffic " +
		"would pass by the mesh"
	Windows        Reason = "a Windows pod"
	OtherMesh      Reason = "another mesh's proxy runs in it"
	NoPodSpec      Reason = "no pod spec is written here, as in a patch"
	ControlPlane   Reason = "the control plane injects nothing into itself"
	NotWorkload    Reason = "not a workload"
	AlreadyEnabled Reason = "injection is already enabled"
)

// Plan decides about one pod template. The pod's own annotations win over its namespace's. An error
// means that an annotation makes no sense, or that a name of ours is taken.
func Plan(
	c Config, pod corev1.PodTemplateSpec, namespace map[string]string,
) (Change, Reason, error) {
	if reason, err := skip(pod); reason != "" || err != nil {
		return Change{}, reason, err
	}
	if err := clashes(pod.Spec); err != nil {
		return Change{}, "", err
	}
	all := slices.Concat(inherited, live)
	s, err := c.parseSettings(nearest(all, pod.Annotations, namespace), pod)
	if err != nil {
		return Change{}, "", err
	}
	s.logLevel = pod.Annotations[names.AnnotationLogLevel] // from the first line; see live
	own := map[string]string{names.AnnotationInjected: c.Version}
	for name, value := range nearest(inherited, pod.Annotations, namespace) {
		if _, has := pod.Annotations[name]; !has {
			own[name] = value
		}
	}
	return Change{
		Annotations:    own,
		Labels:         map[string]string{names.LabelMesh: names.Mesh},
		InitContainers: []corev1.Container{c.redirect(s), c.proxy(s, pod.Spec)},
		Volumes:        c.Volumes(),
	}, "", nil
}

func skip(pod corev1.PodTemplateSpec) (Reason, error) {
	out, err := optedOut(pod)
	switch {
	case err != nil:
		return "", err
	case out:
		return Disabled, nil
	case hasProxy(pod.Spec):
		return AlreadyInjected, nil
	case pod.Spec.HostNetwork:
		return HostNetwork, nil
	case runsOnWindows(pod.Spec):
		return Windows, nil
	case hasOther(pod.Spec):
		return OtherMesh, nil
	case runsAsProxy(pod.Spec):
		return ProxyUID, nil
	}
	return "", nil
}

// runsOnWindows: most such pods say so by where they want to be scheduled.
func runsOnWindows(spec corev1.PodSpec) bool {
	if spec.OS != nil && spec.OS.Name == corev1.Windows {
		return true
	}
	for _, label := range osLabels {
		if spec.NodeSelector[label] == string(corev1.Windows) {
			return true
		}
	}
	a := spec.Affinity
	if a == nil || a.NodeAffinity == nil ||
		a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return false
	}
	// Of several terms each is enough to be scheduled by.
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	elsewhere := func(t corev1.NodeSelectorTerm) bool {
		return !slices.ContainsFunc(t.MatchExpressions, wantsWindows)
	}
	return len(terms) > 0 && !slices.ContainsFunc(terms, elsewhere)
}

// osLabels are what a node's operating system is known by, today's and the one before.
var osLabels = []string{corev1.LabelOSStable, "beta.kubernetes.io/os"}

func wantsWindows(r corev1.NodeSelectorRequirement) bool {
	return slices.Contains(osLabels, r.Key) && r.Operator == corev1.NodeSelectorOpIn &&
		slices.Equal(r.Values, []string{string(corev1.Windows)})
}

// hasOther: two meshes' redirections take each other's traffic, and neither arrives.
func hasOther(spec corev1.PodSpec) bool {
	is := func(c corev1.Container) bool { return slices.Contains(otherProxies, c.Name) }
	return slices.ContainsFunc(spec.InitContainers, is) || slices.ContainsFunc(spec.Containers, is)
}

// otherProxies are the sidecars of Istio, Linkerd, Kuma and Consul.
var otherProxies = []string{"istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane"}

// hasProxy goes by the container alone: a copied label or annotation must not let a pod run without
// a proxy.
func hasProxy(spec corev1.PodSpec) bool {
	is := func(c corev1.Container) bool { return c.Name == names.ProxyContainer }
	return slices.ContainsFunc(spec.InitContainers, is) || slices.ContainsFunc(spec.Containers, is)
}

// clashes names what is called like one of ours although there is no proxy.
func clashes(spec corev1.PodSpec) error {
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if slices.Contains(containerNames, c.Name) {
			return fmt.Errorf("there is a container %s, but no proxy: remove it", c.Name)
		}
	}
	for _, v := range spec.Volumes {
		if slices.Contains(volumeNames, v.Name) {
			return fmt.Errorf("there is a volume %s, but no proxy: remove it", v.Name)
		}
	}
	return nil
}

// runsAsProxy: the redirection lets the proxy's uid pass, so an application with that uid would
// leave the mesh unnoticed.
func runsAsProxy(spec corev1.PodSpec) bool {
	is := func(uid *int64) bool { return uid != nil && *uid == config.UID }
	if spec.SecurityContext != nil && is(spec.SecurityContext.RunAsUser) {
		return true
	}
	own := func(c corev1.Container) bool {
		return c.SecurityContext != nil && is(c.SecurityContext.RunAsUser)
	}
	return slices.ContainsFunc(spec.Containers, own) ||
		slices.ContainsFunc(spec.InitContainers, own)
}

// Change is what injection adds to a pod template. Everything is added in front: of lists, so that
// the proxy starts first; of the rest, so that text, patch and object agree.
type Change struct {
	Annotations    map[string]string
	Labels         map[string]string
	InitContainers []corev1.Container
	Volumes        []corev1.Volume
}

// Apply returns pod with the change in it; pod itself is not touched.
func (c Change) Apply(pod corev1.PodTemplateSpec) corev1.PodTemplateSpec {
	out := *pod.DeepCopy()
	out.Annotations = merge(out.Annotations, c.Annotations)
	out.Labels = merge(out.Labels, c.Labels)
	out.Spec.InitContainers = append(slices.Clone(c.InitContainers), out.Spec.InitContainers...)
	out.Spec.Volumes = append(slices.Clone(c.Volumes), out.Spec.Volumes...)
	return out
}

func merge(into, from map[string]string) map[string]string {
	if into == nil {
		into = map[string]string{}
	}
	maps.Copy(into, from)
	return into
}
