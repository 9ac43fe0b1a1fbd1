package names

// What the mesh is called, and what it is part of where the user says nothing else.
const (
	// Mesh is the value of LabelMesh, and of the labels app.kubernetes.io/part-of and managed-by.
	Mesh = "tulle"
	// Namespace is the control plane's.
	Namespace = "tulle"
	// ImageRegistry is where the images mesh-proxy and meshctl are.
	ImageRegistry = "tulle"
	// TrustDomain is that of every SPIFFE ID.
	TrustDomain = "cluster.local"
	// ClusterDomain ends the DNS names of a cluster's Services.
	ClusterDomain = "cluster.local"
	// GatewayController is who the mesh is to the Gateway API: what it says of a route is under
	// this name in the route's status.
	GatewayController = Prefix + "mesh"
)

// The control plane's servers. Each has a Deployment, a Service and a service account of its name.
const (
	Identity    = "tulle-identity"
	Destination = "tulle-destination"
	Injector    = "tulle-injector"
	Viz         = "tulle-viz"
	// VizReplicas is a Service whose addresses are those of all of viz's pods: each proxy reports
	// to each of them.
	VizReplicas = "tulle-viz-replicas"
)

// Objects that one part makes, or is allowed to read, and another part uses.
const (
	// IssuerSecret is the Secret in the control plane's namespace that holds identity's issuer.
	IssuerSecret = "tulle-identity-issuer"
	// TrustConfigMap holds today's roots, in PEM under TrustKey. Identity keeps one in every
	// namespace, and pods mount it to know identity's server by.
	TrustConfigMap = "tulle-trust"
	TrustKey       = "ca.crt"
	// ProxyContainer is the proxy's container in an injected pod.
	ProxyContainer = "tulle-proxy"
)

// TapRole is the ClusterRole of who may tap.
const TapRole = "tulle-tap"

// TapNonceHeader is the header of a question to viz in which who taps shows the nonce of a
// TapSession.
const TapNonceHeader = "Tulle-Tap-Nonce"

// Audience is what a token must be made for to be taken by identity of this trust domain, and what
// nobody else takes.
func Audience(trustDomain string) string { return "identity.tulle.dev/" + trustDomain }
