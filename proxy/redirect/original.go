package redirect

import "errors"

// ErrNotRedirected says that conntrack knows nothing of the connection: there are no rules in this
// network namespace.
var ErrNotRedirected = errors.New("the connection was not redirected: no rules in this network " +
	"namespace; run `mesh-proxy redirect` before it, or configure explicit upstreams")
