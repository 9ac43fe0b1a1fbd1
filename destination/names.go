package destination

// Labels that Kubernetes puts on nodes.
const (
	labelRegion = "topology.kubernetes.io/region"
	labelZone   = "topology.kubernetes.io/zone"
)
