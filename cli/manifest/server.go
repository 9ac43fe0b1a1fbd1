package manifest

import (
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// serverUID is what the servers run as; no file belongs to it. It is not the proxy's 2102, whose
// traffic redirection lets pass.
const serverUID = 2103

// server is one server of the control plane.
type server struct {
	name     string // of its Deployment, Service and ServiceAccount
	verb     string // meshctl serve VERB
	args     []string
	port     int32 // where it listens
	service  int32 // the Service's port
	metrics  int32 // where Prometheus reads what the mesh does; 0 is nowhere
	replicas int32
	each     string // a Service by which all replicas are found; "" where one will do
	// memory is what it may use: a limit, so that a leak ends one server and not the node. What the
	// server admits follows from it, so that it refuses before it is killed
	// (identity/serve.Limits).
	memory resource.Quantity
}

const (
	// proxies is how many a server has memory for, beside what it needs without any.
	proxies = 10_000
	// goPercent of a container's memory is Go's. What Go does not count, the binary's pages above
	// all, has the rest.
	goPercent = 85
	// memoryStep is what limits are multiples of, for people.
	memoryStep = 64 << 20
	// memoryRequest is what a server of a small mesh has resident, rounded up: 54 to 62 MiB were
	// measured with 100 pods and 20 proxies, about 50 of them pages of the binary. Each proxy more
	// takes what the server's limits say (serve.Limits.Each).
	memoryRequest = "64Mi"
)

// memoryFor is the container's memory with which a server admits proxies connections.
func memoryFor(limits serve.Limits) resource.Quantity {
	steps := (limits.Memory(proxies)*100/goPercent + memoryStep) / memoryStep
	return *resource.NewQuantity(steps*memoryStep, resource.BinarySI)
}

func (c Config) servers() []server {
	i := c.Injector
	all := []server{{
		name: names.Identity, verb: "identity", port: config.IdentityPort,
		service: config.IdentityPort, replicas: 1,
		memory: memoryFor(identity.ConnectionLimits()),
		args:   []string{"--identity-lifetime=" + c.IdentityLifetime.String()},
	}, {
		name: names.Destination, verb: "destination", port: config.DestinationPort,
		service: config.DestinationPort, replicas: 1,
		memory: memoryFor(destination.ConnectionLimits()),
		args:   slices.Concat(outboundArgs(i), c.Consul.args(), c.Tracing),
	}, {
		// Two, for without one no pod that asked for the mesh can start.
		name: names.Injector, verb: "injector", port: config.InjectorPort, service: 443,
		replicas: 2, memory: resource.MustParse("128Mi"),
		args: slices.Concat(outboundArgs(i), []string{
			"--proxy-image=" + i.ProxyImage,
			"--image-pull-policy=" + string(i.PullPolicy), "--proxy-log-level=" + i.LogLevel,
		}, resourceArgs(i.Resources)),
	}, {
		name: names.Viz, verb: "viz", port: config.VizPort, service: config.VizPort,
		replicas: int32(max(1, c.VizReplicas)), each: names.VizReplicas,
		memory: memoryFor(viz.ConnectionLimits()),
		args:   []string{"--objectives-file=" + objectivesFile},
	}}
	shown := &all[len(all)-1]
	shown.args = append(shown.args, c.Prometheus.args()...)
	if c.Prometheus.Namespace != "" {
		shown.metrics = config.VizMetricsPort
	}
	return all
}

// outboundArgs say what becomes of addresses that nothing in the cluster has.
func outboundArgs(i injector.Config) (args []string) {
	if len(i.ClusterNetworks) > 0 {
		args = append(args, "--cluster-networks="+strings.Join(i.ClusterNetworks, ","))
	}
	return append(args, "--outbound-policy="+i.OutboundPolicy)
}

// resourceArgs tell the webhook what install was told.
func resourceArgs(r injector.Resources) (args []string) {
	for _, a := range []struct{ flag, value string }{
		{"proxy-cpu-request", r.CPURequest}, {"proxy-cpu-limit", r.CPULimit},
		{"proxy-memory-request", r.MemoryRequest}, {"proxy-memory-limit", r.MemoryLimit},
	} {
		if a.value != "" {
			args = append(args, "--"+a.flag+"="+a.value)
		}
	}
	return args
}

func (c Config) namespace() *corev1.Namespace {
	m := meta(c.Injector.Namespace, "")
	// The control plane itself needs no privilege at all, and asks the API server to see to it.
	m.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	return &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"), ObjectMeta: m}
}

func (c Config) account(s server) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{TypeMeta: typeMeta("v1", "ServiceAccount"),
		ObjectMeta: meta(s.name, c.Injector.Namespace)}
}

func (c Config) service(s server) *corev1.Service {
	out := &corev1.Service{
		TypeMeta: typeMeta("v1", "Service"), ObjectMeta: meta(s.name, c.Injector.Namespace),
		Spec: corev1.ServiceSpec{
			Selector: selector(s),
			Ports:    servicePorts(s),
		},
	}
	if s.metrics != 0 && s.replicas > 1 {
		// Each has counters of its own, from its own start: a Prometheus is to stay with one.
		out.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	return out
}

// serviceOfEach has no address of its own: its name has those of all pods that are ready.
func (c Config) serviceOfEach(s server) *corev1.Service {
	m := meta(s.each, c.Injector.Namespace)
	return &corev1.Service{
		TypeMeta: typeMeta("v1", "Service"), ObjectMeta: m,
		Spec: corev1.ServiceSpec{
			ClusterIP: corev1.ClusterIPNone,
			Selector:  selector(s),
			Ports: []corev1.ServicePort{{Name: "tls", Port: s.port,
				TargetPort: intstr.FromString("tls")}},
		},
	}
}

func servicePorts(s server) []corev1.ServicePort {
	ports := []corev1.ServicePort{{Name: "tls", Port: s.service,
		TargetPort: intstr.FromString("tls")}}
	if s.metrics != 0 {
		ports = append(ports, corev1.ServicePort{Name: "metrics", Port: s.metrics,
			TargetPort: intstr.FromString("metrics")})
	}
	return ports
}

func containerPorts(s server) []corev1.ContainerPort {
	ports := []corev1.ContainerPort{
		{Name: "tls", ContainerPort: s.port},
		{Name: "health", ContainerPort: serve.HealthPort},
	}
	if s.metrics != 0 {
		ports = append(ports, corev1.ContainerPort{Name: "metrics", ContainerPort: s.metrics})
	}
	return ports
}

func (c Config) deployment(s server) *appsv1.Deployment {
	pod := meta(s.name, "")
	pod.Name = ""
	return &appsv1.Deployment{
		TypeMeta: typeMeta("apps/v1", "Deployment"), ObjectMeta: meta(s.name, c.Injector.Namespace),
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(s.replicas),
			Selector: &metav1.LabelSelector{MatchLabels: selector(s)},
			Template: corev1.PodTemplateSpec{ObjectMeta: pod, Spec: c.pod(s)},
		},
	}
}

func (c Config) pod(s server) corev1.PodSpec {
	spec := corev1.PodSpec{
		ServiceAccountName: s.name,
		EnableServiceLinks: ptr(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(serverUID)),
			RunAsGroup: ptr(int64(serverUID)), FSGroup: ptr(int64(serverUID)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		NodeSelector: map[string]string{"kubernetes.io/os": "linux"},
		Affinity:     spread(s),
		Containers:   []corev1.Container{c.container(s)},
	}
	if s.certified() {
		spec.Volumes = c.Injector.Volumes()
		spec.Containers[0].VolumeMounts = injector.VolumeMounts()
	}
	switch s.name {
	case names.Destination:
		c.Consul.mount(&spec)
	case names.Viz:
		mountData(&spec)
	}
	return spec
}

// goMemory is GOMEMLIMIT, in bytes.
func (s server) goMemory() int64 { return s.memory.Value() * goPercent / 100 }

// certified servers ask identity for their certificate; identity signs its own.
func (s server) certified() bool { return s.verb != "identity" }

func (c Config) container(s server) corev1.Container {
	args := append([]string{"serve", s.verb, "--tulle-namespace=" + c.Injector.Namespace,
		"--trust-domain=" + c.Injector.TrustDomain,
		"--cluster-domain=" + c.Injector.ClusterDomain}, s.args...)
	return corev1.Container{
		Name: s.name, Image: c.ServerImage, ImagePullPolicy: c.Injector.PullPolicy, Args: args,
		Env: []corev1.EnvVar{
			fieldEnv("POD_NAME", "metadata.name"),
			{Name: "GOMEMLIMIT", Value: strconv.FormatInt(s.goMemory(), 10)},
		},
		Ports: containerPorts(s),
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"),
				corev1.ResourceMemory: resource.MustParse(memoryRequest)},
			Limits: corev1.ResourceList{corev1.ResourceMemory: s.memory},
		},
		ReadinessProbe:           probe("/ready", 2),
		LivenessProbe:            probe("/live", 10),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

func (c Config) disruptionBudget(s server) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   typeMeta("policy/v1", "PodDisruptionBudget"),
		ObjectMeta: meta(s.name, c.Injector.Namespace),
		Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr(intstr.FromInt32(1)),
			Selector:       &metav1.LabelSelector{MatchLabels: selector(s)},
		},
	}
}

// spread keeps replicas on different nodes where there are any.
func spread(s server) *corev1.Affinity {
	if s.replicas < 2 {
		return nil
	}
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
			Weight: 100,
			PodAffinityTerm: corev1.PodAffinityTerm{
				TopologyKey:   "kubernetes.io/hostname",
				LabelSelector: &metav1.LabelSelector{MatchLabels: selector(s)},
			},
		}},
	}}
}

func selector(s server) map[string]string {
	return map[string]string{"app.kubernetes.io/name": s.name}
}

func probe(path string, period int32) *corev1.Probe {
	get := corev1.HTTPGetAction{Path: path, Port: intstr.FromString("health")}
	return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &get}, PeriodSeconds: period,
		TimeoutSeconds: 5}
}

func fieldEnv(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name,
		ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func ptr[T any](v T) *T { return &v }
