package injector

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// What the injector calls its own; removal goes by these names.
const (
	RedirectContainer = "tulle-redirect"
	tokenVolume       = "tulle-token"
	trustVolume       = names.TrustConfigMap
	tokenDir          = "/var/run/tulle/token"
	trustDir          = "/var/run/tulle/trust"

	TokenFile = tokenDir + "/token"
	TrustFile = trustDir + "/" + names.TrustKey
)

var (
	containerNames = []string{RedirectContainer, names.ProxyContainer}
	volumeNames    = []string{tokenVolume, trustVolume}
)

const (
	// tokenSeconds: kubelet renews at 80 %, so that a stolen token is soon worthless; Kubernetes
	// allows no less than 600.
	tokenSeconds = 3600
	// startupFailures is how many startup probes, one a second, may fail: a day's. A proxy that
	// waits for identity must not be killed, for a restart's backoff only delays the pod.
	startupFailures = 24 * 60 * 60
)

// redirect makes the pod's traffic pass the proxy, then ends. It alone is root, with NET_ADMIN and
// nothing else.
func (c Config) redirect(s settings) corev1.Container {
	skipInbound := append([]string{strconv.Itoa(config.AdminPort)}, s.skipInbound...)
	args := []string{"redirect", "--skip-inbound=" + strings.Join(skipInbound, ",")}
	if len(s.skipOutbound) > 0 {
		args = append(args, "--skip-outbound="+strings.Join(s.skipOutbound, ","))
	}
	security := restricted()
	security.RunAsUser, security.RunAsGroup = ptr(int64(0)), ptr(int64(0))
	security.RunAsNonRoot = ptr(false) // the pod's own runAsNonRoot must not refuse it
	security.Capabilities.Add = []corev1.Capability{"NET_ADMIN"}
	return corev1.Container{
		Name: RedirectContainer, Image: c.image(s), ImagePullPolicy: c.PullPolicy, Args: args,
		Resources: s.resources, SecurityContext: security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// AdminPortName is what a pod calls the port where Prometheus reads its proxy.
const AdminPortName = "tulle-admin"

func (c Config) proxy(s settings, pod corev1.PodSpec) corev1.Container {
	security := restricted()
	security.RunAsUser, security.RunAsGroup = ptr(int64(config.UID)), ptr(int64(config.UID))
	security.RunAsNonRoot = ptr(true)
	return corev1.Container{
		Name: names.ProxyContainer, Image: c.image(s), ImagePullPolicy: c.PullPolicy,
		Args:          []string{"run"},
		RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways),
		Ports: []corev1.ContainerPort{
			{Name: names.ProxyContainer, ContainerPort: config.InboundPort},
			{Name: AdminPortName, ContainerPort: config.AdminPort},
		},
		Env:                      c.env(s, pod),
		Resources:                s.resources,
		StartupProbe:             probe("/ready", 1, startupFailures),
		ReadinessProbe:           probe("/ready", 2, 3),
		LivenessProbe:            probe("/live", 10, 3),
		VolumeMounts:             VolumeMounts(),
		SecurityContext:          security,
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
}

// env needs no cluster: what only the pod knows comes from the downward API, and $(NAME) is
// expanded by the kubelet.
func (c Config) env(s settings, pod corev1.PodSpec) []corev1.EnvVar {
	env := []corev1.EnvVar{
		field("POD_NAME", "metadata.name"),
		field("POD_NAMESPACE", "metadata.namespace"),
		field("POD_SERVICE_ACCOUNT", "spec.serviceAccountName"),
		field(config.EnvPodIPs, "status.podIPs"),
		field(config.EnvNodeIP, "status.hostIP"),
		{Name: config.EnvPod, Value: "$(POD_NAMESPACE)/$(POD_NAME)"},
		{Name: config.EnvIdentity, Value: "spiffe://" + c.TrustDomain +
			"/ns/$(POD_NAMESPACE)/sa/$(POD_SERVICE_ACCOUNT)"},
		{Name: config.EnvIdentityAddr, Value: c.Address(names.Identity, config.IdentityPort)},
		{Name: config.EnvIdentityID, Value: c.ServerID(names.Identity)},
		{Name: config.EnvDestinationAddr, Value: c.Address(
			names.Destination, config.DestinationPort)},
		{Name: config.EnvDestinationID, Value: c.ServerID(names.Destination)},
		{Name: config.EnvVizAddr, Value: c.Address(names.VizReplicas, config.VizPort)},
		{Name: config.EnvVizID, Value: c.ServerID(names.Viz)},
		{Name: config.EnvTokenFile, Value: TokenFile},
		{Name: config.EnvTrustFile, Value: TrustFile},
		{Name: config.EnvClusterNetworks, Value: strings.Join(c.asked(), ",")},
		{Name: "GOMAXPROCS", Value: strconv.Itoa(s.cpus)},
		{Name: "GOMEMLIMIT", Value: memoryTarget(s.resources)},
	}
	return append(env, c.optionalEnv(s, pod)...)
}

func (c Config) optionalEnv(s settings, pod corev1.PodSpec) []corev1.EnvVar {
	var env []corev1.EnvVar
	set := func(name, value string) {
		if value != "" {
			env = append(env, corev1.EnvVar{Name: name, Value: value})
		}
	}
	set(config.EnvMode, s.mode)
	set(config.EnvTrustedProxies, strings.Join(s.trusted, ","))
	set(config.EnvProbes, probed(pod))
	set(config.EnvLogLevel, cmp.Or(s.logLevel, c.LogLevel))
	// The kubelet kills at the end of the pod's own grace: a proxy that hoped for more would never
	// close in order.
	if grace := pod.TerminationGracePeriodSeconds; grace != nil &&
		*grace < int64(config.DrainGrace.Seconds()) {
		set(config.EnvDrainGrace, fmt.Sprintf("%ds", *grace))
	}
	return env
}

// probed is what the kubelet asks the application, for a proxy that destination has told nothing
// yet.
func probed(pod corev1.PodSpec) string {
	var all []string
	for _, p := range kube.Workload(pod).Probes {
		port := strconv.Itoa(int(p.Port))
		switch {
		case p.Port == 0:
		case p.TLS:
			all = append(all, port+config.ProbedOverTLS)
		default:
			// the kubelet expands $(NAME)
			all = append(all, port+strings.ReplaceAll(p.Path, "$(", "$$("))
		}
	}
	return strings.Join(all, " ")
}

// Volumes are what a process needs to ask identity for its certificate: a token, and the roots to
// know identity by. The control plane's own servers mount them too.
func (c Config) Volumes() []corev1.Volume {
	token := corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
		Audience: names.Audience(c.TrustDomain), ExpirationSeconds: ptr(int64(tokenSeconds)),
		Path: "token",
	}}
	return []corev1.Volume{{
		Name: tokenVolume,
		VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{token},
		}},
	}, {
		Name: trustVolume,
		VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: names.TrustConfigMap},
			// A pod in a new namespace may start before the ConfigMap is there; the proxy reads
			// again.
			Optional: ptr(true),
		}},
	}}
}

// VolumeMounts say where TokenFile and TrustFile are.
func VolumeMounts() []corev1.VolumeMount {
	return []corev1.VolumeMount{
		{Name: tokenVolume, MountPath: tokenDir, ReadOnly: true},
		{Name: trustVolume, MountPath: trustDir, ReadOnly: true},
	}
}

// Address of a control-plane server. It ends in a dot: the name is complete, so the resolver asks
// once instead of walking the search path.
func (c Config) Address(service string, port int) string {
	domain := cmp.Or(c.ClusterDomain, names.ClusterDomain)
	return fmt.Sprintf("%s.%s.svc.%s.:%d", service, c.Namespace, domain, port)
}

// ServerID is the one identity that a control-plane server may have.
func (c Config) ServerID(account string) string {
	return "spiffe://" + c.TrustDomain + "/ns/" + c.Namespace + "/sa/" + account
}

func (c Config) image(s settings) string { return cmp.Or(s.image, c.ProxyImage) }

func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false),
		ReadOnlyRootFilesystem:   ptr(true),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{
			Type: corev1.SeccompProfileTypeRuntimeDefault,
		},
	}
}

func probe(path string, period, failures int32) *corev1.Probe {
	get := corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(config.AdminPort)}
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &get}, PeriodSeconds: period,
		FailureThreshold: failures, TimeoutSeconds: 5}
}

func field(name, path string) corev1.EnvVar {
	ref := corev1.ObjectFieldSelector{FieldPath: path}
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &ref}}
}

func ptr[T any](v T) *T { return &v }
