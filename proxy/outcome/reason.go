package outcome

import (
	"errors"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Reason is why something did not go plainly well: one word out of a closed list, the same in the
// access log, in tulle-error, as a metric's label and in docs/accesslog.md. What a backend answers
// by itself has none, whatever its status.
type Reason uint8

// The reasons.
const (
	Plain            Reason = iota // there is none
	NoRoute                        // nothing is known by the name or address, or no rule is for it
	NoEndpoints                    // no backend, or none that is ready
	QueueFull                      // too many wait already
	QueueTimeout                   // no connection came free in time
	ConnectFailed                  // the endpoint could not be connected to
	ConnectTimeout                 // nor did it say so in time
	TLSFailed                      // its proxy's TLS, or what vouches for it has ended
	IdentityMismatch               // its proxy is another one than destination has named
	RefusedStream                  // the backend takes none; nothing of it was processed
	ResetByPeer                    // the backend broke off
	RequestTimeout                 // the whole request took too long
	TryTimeout                     // one try did, and there is no other
	IdleTimeout                    // a body, or an opaque connection, did not move for too long
	DeadlinePassed                 // it came too late to be asked of anybody
	ClientGone                     // the caller went away
	RetryBudget                    // its answer asks for another try, which the budget has not got
	RetryLimit                     // nor may there be more tries
	Denied                         // the caller may not do this
	BadRequest                     // the backend's protocol has no words for it, or it is no HTTP
	HeaderTooLarge                 // a head is more than its receiver takes
	Overload                       // the proxy itself has no room for it
	Draining                       // the proxy has ended
	RouteAnswer                    // the route answers an error, and asks nobody
	ClusterLimit                   // a limit of the cluster's
	RateLimited                    // the caller asks more often than a rate limit admits
	FaultInjected                  // so does a fault, on purpose
	Loop                           // it is for the proxy itself
	reasons

	// Reasons is how many there are, Plain included.
	Reasons = int(reasons)
)

var reasonNames = [reasons]string{
	"", "no_route", "no_endpoints", "queue_full", "queue_timeout", "connect_failed",
	"connect_timeout", "tls_failed", "identity_mismatch", "refused_stream", "reset_by_peer",
	"request_timeout", "try_timeout", "idle_timeout", "deadline_passed", "client_gone",
	"retry_budget", "retry_limit", "denied", "bad_request", "header_too_large", "overload",
	"draining", "route_answer", "cluster_limit", "rate_limited", "fault_injected", "loop",
}

func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return reasonNames[r]
}

// Fixed is why a route answers with a status instead of asking a backend: 404 is for what none of
// its rules matches.
func Fixed(status int) Reason {
	if status == 404 {
		return NoRoute
	}
	return RouteAnswer
}

// Count counts in a cell what did not go plainly well.
func (r Reason) Count(c *metric.Cell) {
	if r != Plain && r < reasons {
		c.CountReason(uint8(r))
	}
}

// Says is the reason before words for people, as tulle-error has it.
func (r Reason) Says(words string) string { return r.String() + ": " + words }

// Said takes apart what Says has made, perhaps in another proxy. Where that names no reason of ours
// all of it is words, and the reason is Plain.
func Said(text string) (why Reason, words string) {
	word, words, ok := strings.Cut(text, ": ")
	for r := Plain + 1; ok && r < reasons; r++ {
		if reasonNames[r] == word {
			return r, words
		}
	}
	return Plain, text
}

// Failure is an error whose reason is known.
type Failure struct {
	Why Reason
	Err error
}

func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap is for package errors.
func (f *Failure) Unwrap() error { return f.Err }

// Unreached is why a connection could not be made: what the error knows itself, or that it took too
// long, or else otherwise.
func Unreached(err error, otherwise Reason) Reason {
	var known *Failure
	var late interface{ Timeout() bool } // as net's errors have it, and context's
	switch {
	case errors.As(err, &known):
		return known.Why
	case errors.As(err, &late) && late.Timeout():
		return ConnectTimeout
	}
	return otherwise
}
