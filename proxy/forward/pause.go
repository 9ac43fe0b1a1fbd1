package forward

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

const (
	// maxAsked bounds the pause that an answer asks for. A Retry-After of more is ignored, as in
	// Envoy's rate_limited_retry_back_off.
	maxAsked = 300 * time.Second
	// maxHeld is as long as a backend may have a request wait that has no timeout: nobody has said
	// that its caller waits for longer. It gets the answer instead, which says when to come again.
	maxHeld = 15 * time.Second
	// growth is how many times a rule's first pause a later one may be: Envoy's default for
	// retry_back_off.
	growth = 10
	// doublings are as many as a pause can have. More of them would overflow.
	doublings = 16
)

// pause is how long the try that follows a waits, after what its backend said; nil: nothing. It is
// false if the backend wants no other try.
func (x *exchange) pause(a *attempt, said []hpack.HeaderField) (d time.Duration, welcome bool) {
	if x.grpc {
		if text, pushed := pushback(said); pushed {
			d, welcome = parsePushback(text)
			return d, welcome && x.bears(d)
		}
	}
	own := x.ownPause()
	if base := x.rule.Retries.Backoff; base > 0 {
		own = grown(base, int(x.tries))
	}
	asked := x.retryAfter(a, said)
	return max(own, asked), x.bears(asked)
}

// bears reports whether the request may wait for so long because a backend asks for it. One that
// has a timeout may for as long as that leaves.
func (x *exchange) bears(asked time.Duration) bool { return x.limit > 0 || asked <= maxHeld }

// ownPause is the proxy's: none where another endpoint may do better, a backoff where it is the
// same one.
func (x *exchange) ownPause() time.Duration {
	if !x.alone() {
		return 0
	}
	return backoff(int(x.tries), &x.c.f.Limits)
}

// retryAfter is the pause that an answer asks for by Retry-After (RFC 9110 §10.2.3, RFC 6585 §4);
// 0: none. What the endpoint's own proxy asks for is about that endpoint alone.
func (x *exchange) retryAfter(a *attempt, said []hpack.HeaderField) time.Duration {
	switch header.Value(said, ":status") {
	case "429", "503":
	default:
		return 0
	}
	if a.endpoint.Meshed() && header.Value(said, header.Error) != "" && !x.alone() {
		return 0
	}
	d := header.RetryAfter(header.Value(said, "retry-after"), time.Now())
	if d > maxAsked {
		return 0
	}
	return d
}

// pushback is what a gRPC server says of another try (gRPC A6).
func pushback(said []hpack.HeaderField) (text string, pushed bool) {
	for i := range said {
		if said[i].Name == "grpc-retry-pushback-ms" {
			return said[i].Value, true
		}
	}
	return "", false
}

// parsePushback: what is negative or no number asks for no other try. So does more than anybody
// waits for.
func parsePushback(text string) (d time.Duration, welcome bool) {
	n, err := strconv.ParseInt(text, 10, 32)
	d = time.Duration(n) * time.Millisecond
	return d, err == nil && d >= 0 && d <= maxAsked
}

// endsWithin reports whether the request's deadline comes before a pause is over: it is better told
// now what there is to tell.
func (x *exchange) endsWithin(pause time.Duration) bool {
	return x.limit > 0 && x.age()+pause >= x.limit-deadlineSlop
}

// backoff before the nth retry at the same endpoint: doubling, with full jitter.
func backoff(n int, l *config.Limits) time.Duration {
	d := min(l.RetryBackoffMin<<min(n-1, doublings), l.RetryBackoffMax)
	return l.RetryBackoffMin/2 + rand.N(d)
}

// grown is the nth pause of a rule whose first one is base: doubling, with a quarter of it more as
// jitter. None is shorter than the first, as the Gateway API has it.
func grown(base time.Duration, n int) time.Duration {
	d := min(base<<min(n-1, doublings), growth*base, api.MaxBackoff)
	return d + rand.N(d/4+1)
}
