package forward

import (
	"errors"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Who broke a protocol, as metrics name it.
const (
	roleCaller  = "caller"
	roleBackend = "backend"
)

// broken counts a connection that ended because its peer broke HTTP, or a limit. The reasons are
// few: a role and a code.
func (f *Forwarder) broken(role string, err error) {
	var h2Error *h2.ConnError
	var refusal *h1.Refusal
	switch {
	case errors.As(err, &h2Error) && !h2Error.Remote:
		f.protocolError(role, "http2_"+strings.ToLower(h2.CodeName(h2Error.Code)))
	case errors.As(err, &refusal):
		f.protocolError(role, "http1_"+strconv.Itoa(refusal.Status))
	}
}

// breach is broken for a stream of HTTP/2, whose connection goes on.
func (f *Forwarder) breach(role string) func(code uint32) {
	return func(code uint32) {
		f.protocolError(role, "http2_stream_"+strings.ToLower(h2.CodeName(code)))
	}
}

func (f *Forwarder) protocolError(role, what string) {
	f.Metrics.Counter(metric.ProtocolError, role+"_"+what).Inc()
}
