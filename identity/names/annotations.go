package names

// Prefix begins every label and annotation of the mesh.
const Prefix = "tulle.dev/"

// Annotations that users write. All of them work on a pod template; a namespace's annotations are
// the defaults of its pods.
const (
	// enabled | disabled; also a label, of namespaces and pods. On pods true and false are the same
	AnnotationInject = Prefix + "inject"
	AnnotationMode   = Prefix + "mode" // strict | permissive; live
	// Lists of ports, ranges, and names of containers' ports: "25,6000-6999,redis". On a Service,
	// names are of its own ports.
	AnnotationOpaquePorts  = Prefix + "opaque-ports" // live
	AnnotationSkipInbound  = Prefix + "skip-inbound-ports"
	AnnotationSkipOutbound = Prefix + "skip-outbound-ports"
	// CIDRs of the callers without a proxy that are believed what they say in X-Forwarded-For
	AnnotationTrustedProxies = Prefix + "trusted-proxies"
	AnnotationProxyCPUs      = Prefix + "proxy-cpus" // GOMAXPROCS
	AnnotationProxyImage     = Prefix + "proxy-image"
	// Kubernetes' quantities, for each of the two containers that are added to a pod
	AnnotationProxyCPURequest    = Prefix + "proxy-cpu-request"
	AnnotationProxyCPULimit      = Prefix + "proxy-cpu-limit"
	AnnotationProxyMemoryRequest = Prefix + "proxy-memory-request"
	AnnotationProxyMemoryLimit   = Prefix + "proxy-memory-limit"
	// debug | info | warn | error; live: it reaches pods that run
	AnnotationLogLevel  = Prefix + "proxy-log-level"
	AnnotationAccessLog = Prefix + "access-log" // none | json | text; live
	// How many of the traces that begin at a proxy are sampled: "5%"; or off; live
	AnnotationTraceSampling = Prefix + "trace-sampling"
)

// Labels and annotations that the mesh writes.
const (
	// LabelMesh, with the value Mesh, is on every pod with a proxy: destination takes it for
	// meshed.
	LabelMesh = Prefix + "mesh"
	// AnnotationInjected is the version that injected a pod.
	AnnotationInjected = Prefix + "injected"
	// AnnotationMeshAddress is IP:PORT, where a workload's proxy takes what arrives for it, if that
	// is not at the workload's own address.
	AnnotationMeshAddress = Prefix + "mesh-address"
)
