package route

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/header"
)

// Retries say which requests of a rule are tried again, and how soon. The zero value is of a rule
// that marks all of its requests: whatever counts as a failure is tried again.
type Retries struct {
	Backoff  time.Duration // the least before the first one; 0: the proxy's own
	listed   bool
	statuses []int
	grpc     uint32   // a bit for each status
	methods  []string // none: every one
}

// greatestGRPC is the last of gRPC's statuses, UNAUTHENTICATED.
const greatestGRPC = 16

func compileRetries(m *api.Retry) (out Retries, err error) {
	if m == nil {
		return out, nil
	}
	if err := api.Understood(m); err != nil {
		return out, err
	}
	if m.GetMaxTries() > api.MaxTries {
		return out, fmt.Errorf("a retry of %d tries, more than %d", m.MaxTries, api.MaxTries)
	}
	out.listed, out.methods = m.GetListed(), m.GetMethods()
	if out.Backoff = milliseconds(m.GetBackoffMs()); out.Backoff > api.MaxBackoff {
		return out, fmt.Errorf("a retry after %s, more than %s", out.Backoff, api.MaxBackoff)
	}
	for _, s := range m.GetStatuses() {
		if s < 400 || s > 599 {
			return out, fmt.Errorf("a retry of status %d, which is not 400 to 599", s)
		}
		out.statuses = append(out.statuses, int(s))
	}
	for _, s := range m.GetGrpcStatuses() {
		if s < 1 || s > greatestGRPC {
			return out, fmt.Errorf("a retry of gRPC's status %d, which is not 1 to 16", s)
		}
		out.grpc |= 1 << s
	}
	for _, method := range out.methods {
		if !isMethod(method) {
			return out, fmt.Errorf("a retry of %q, which is no method", method)
		}
	}
	return out, nil
}

// isMethod: a token of RFC 9110, 5.6.2. Methods have upper case too.
func isMethod(s string) bool { return header.IsToken(strings.ToLower(s)) }

// Covers reports whether requests of a method may be tried again at all.
func (r *Retries) Covers(method string) bool {
	return len(r.methods) == 0 || slices.Contains(r.methods, method)
}

// Answer reports whether an answer of a status, which is a failure or not, asks for another try.
func (r *Retries) Answer(status int, failed bool) bool {
	if r.listed {
		return slices.Contains(r.statuses, status)
	}
	return failed
}

// GRPC reports whether a call that ended with a status, 0 to 16, asks for another try. Of what
// counts as a failure, permission denied (7) is an answer like any other.
func (r *Retries) GRPC(status int, failed bool) bool {
	if r.listed {
		return r.grpc&(1<<status) != 0
	}
	return failed && status != 7
}
