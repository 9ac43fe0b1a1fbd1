package metric

// Labels say what a series counts. Their fields are those of viz.proto's Labels, and empty means
// unknown. They are comparable. Each has few values: nothing that a caller can make up, such as a
// path or a header, is among them.
type Labels struct {
	Direction   Direction
	Authority   string // the canonical destination: "web.shop.svc.cluster.local:80"
	Namespace   string // outbound: the destination service's
	Service     string
	Route       string // "" is the default route
	Backend     string // outbound: the cluster that was picked
	Peer        Workload
	PeerID      string // SPIFFE ID that the peer proved; empty when unauthenticated
	OwnID       string // SPIFFE ID that this proxy proved on the connection
	Security    Security
	Protocol    string // "http/1", "http/2", "grpc", "tcp"
	PeerAddress string // inbound, unauthenticated callers only: their IP
	Port        uint32 // inbound: target port
}

// Workload is who runs a pod: a Deployment, a StatefulSet, ...
type Workload struct {
	Namespace string
	Kind      string
	Name      string
	Pod       string
}

// Direction is which way a request went through the proxy. Its numbers are those on the wire.
type Direction uint8

const (
	Inbound  Direction = 1
	Outbound Direction = 2
)

func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	}
	return "unknown"
}

// Security is how the bytes between this proxy and its peer are protected. Its numbers are those on
// the wire.
type Security uint8

const (
	MTLS              Security = 1
	PlaintextUnmeshed Security = 2 // the peer has no proxy
	PlaintextSkipped  Security = 3
	TLSPassthrough    Security = 4 // the application's own TLS
	Loopback          Security = 5
)

func (s Security) String() string {
	switch s {
	case MTLS:
		return "mtls"
	case PlaintextUnmeshed:
		return "plaintext_unmeshed"
	case PlaintextSkipped:
		return "plaintext_skipped"
	case TLSPassthrough:
		return "tls_passthrough"
	case Loopback:
		return "loopback"
	}
	return "unknown"
}

// Other is the authority of the series into which everything beyond MaxSeries is folded.
const Other = "other"

func otherLabels(d Direction) Labels { return Labels{Direction: d, Authority: Other} }
