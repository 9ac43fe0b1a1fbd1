package destination

// Names that users and the injector write on objects.
const (
	annotationOpaquePorts = "tulle.dev/opaque-ports"
	annotationSkipInbound = "tulle.dev/skip-inbound-ports"
	annotationMode        = "tulle.dev/mode"
	annotationMeshAddress = "tulle.dev/mesh-address"
	labelMesh             = "tulle.dev/mesh"
	labelRegion           = "topology.kubernetes.io/region"
	labelZone             = "topology.kubernetes.io/zone"
	meshName              = "tulle"

	// meshPort is where a proxy takes what arrives for its pod; the same in every pod (proxy/config.InboundPort).
	meshPort = 4143
	// adminPort is the proxy's own, and never redirected: whoever scrapes it comes in plaintext (proxy/config.AdminPort).
	adminPort = 4191
)
