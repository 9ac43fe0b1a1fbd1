package outcome

// What the mesh says of a request beyond OpenTelemetry's conventions, as the access log and spans
// name it.
const (
	NameReason      = "tulle.reason"
	NameError       = "tulle.error"
	NameDestination = "tulle.destination"
	NameNamespace   = "tulle.namespace"
	NameService     = "tulle.service"
	NameRoute       = "tulle.route"
	NameBackend     = "tulle.backend"
	NameEndpoint    = "tulle.endpoint"
	NameClientID    = "tulle.client.id"
	NameServerID    = "tulle.server.id"
	NameSecurity    = "tulle.security"
	NameHedge       = "tulle.hedge"
	NameLost        = "tulle.lost"
)
