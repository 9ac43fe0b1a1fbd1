package redirect

import "errors"

// ErrNotRedirected: conntrack knows nothing of the connection, so there are no rules in this
// network namespace.
var ErrNotRedirected = errors.New("the connection was not redirected: no rules in this network namespace; " +
	"run `mesh-proxy redirect` before it, or configure explicit upstreams")
