package config

// Ports and the uid of the proxy: the same in every pod, and what the redirection, the injector and
// the checks agree on.
const (
	OutboundPort = 4140 // what the application dials is redirected here; loopback only
	InboundPort  = 4143 // what arrives at the pod is redirected here, and meshed peers dial it
	AdminPort    = 4191
	UID          = 2102

	IdentityPort    = 8080
	DestinationPort = 8086
	InjectorPort    = 8443
	VizPort         = 8084 // proxies' reports, mTLS
	VizQueryPort    = 8085 // questions, on the pod's loopback only
	VizMetricsPort  = 9991 // the mesh's figures for Prometheus, where the installation wants it
)

// Environment variables of mesh-proxy. Parse reads them; the injector and `meshctl dev` write them.
const (
	// The SPIFFE ID that the proxy must be given. Anything else is refused.
	EnvIdentity     = "TULLE_IDENTITY"
	EnvIdentityAddr = "TULLE_IDENTITY_ADDR" // host:port
	EnvIdentityID   = "TULLE_IDENTITY_ID"   // the exact SPIFFE ID of the server there

	EnvDestinationAddr = "TULLE_DESTINATION_ADDR" // host:port
	EnvDestinationID   = "TULLE_DESTINATION_ID"
	EnvVizAddr         = "TULLE_VIZ_ADDR" // host:port; empty: metrics are not reported
	EnvVizID           = "TULLE_VIZ_ID"

	EnvTokenFile = "TULLE_TOKEN_FILE" // a projected service account token
	EnvTokenFD   = "TULLE_TOKEN_FD"   // dev mode: a descriptor to read a join token from, once
	EnvTrustFile = "TULLE_TRUST_FILE" // PEM roots for the first call to identity; read for each try
	EnvPod       = "TULLE_POD"        // namespace/name, for logs

	// Comma-separated: the only addresses that the inbound side dials.
	EnvPodIPs = "TULLE_POD_IPS"
	// The node's own address: who calls from it may be the kubelet.
	EnvNodeIP = "TULLE_NODE_IP"
	// Comma-separated CIDRs. An address in them is called only once destination has answered for
	// it.
	EnvClusterNetworks = "TULLE_CLUSTER_NETWORKS"

	// Default 127.0.0.1:4140, and [::1]:4140 where there is one; in explicit mode none.
	EnvOutboundListen = "TULLE_OUTBOUND_LISTEN"
	// Explicit mode: "127.0.0.1:9001=checkout.demo.svc.cluster.local:80,..."
	EnvOutboundUpstreams = "TULLE_OUTBOUND_UPSTREAMS"
	EnvInboundListen     = "TULLE_INBOUND_LISTEN" // default :4143
	// Explicit mode: "8080=127.0.0.1:8080,...", target port to the application's address.
	EnvInboundApps = "TULLE_INBOUND_APPS"
	EnvAdminListen = "TULLE_ADMIN_LISTEN" // default :4191

	// Comma-separated CIDRs: of callers without an identity only those in them are believed what
	// they say of their own callers, in X-Forwarded-For and the like. Empty: all are.
	EnvTrustedProxies = "TULLE_TRUSTED_PROXIES"

	EnvMode = "TULLE_MODE" // permissive (default) or strict, until destination has answered
	// "8080/ready 8080/live 8443:tls": the kubelet's, admitted until destination has answered.
	EnvProbes      = "TULLE_PROBES"
	EnvOpaquePorts = "TULLE_OPAQUE_PORTS" // replaces DefaultOpaquePorts; "-" for none
	EnvLogLevel    = "TULLE_LOG_LEVEL"    // debug, info (default), warn, error
	EnvDrainGrace  = "TULLE_DRAIN_GRACE"  // a Go duration
)

// ALPN protocols inside the mesh. They say what a connection carries.
const (
	ALPNHTTP = "tulle/h2"
	ALPNTCP  = "tulle/tcp"
	// SNISuffix ends the server name of a mesh connection, "8080.tulle": the target port.
	SNISuffix = ".tulle"
)

// DefaultOpaquePorts carry protocols in which the server speaks first, or that are never HTTP:
// SMTP, MySQL, Galera, PostgreSQL, Redis, Elasticsearch's transport, memcached, MongoDB. Detection
// would only delay them.
var DefaultOpaquePorts = []uint16{25, 587, 3306, 4444, 5432, 6379, 9300, 11211, 27017}
