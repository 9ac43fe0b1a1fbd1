package outcome

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Outcome is how an exchange ended.
type Outcome uint8

const (
	None Outcome = iota // it has not
	Answered
	Cancelled // by the caller
	Reset     // the backend broke off a response
	Refused   // passed back as not delivered
	Timeout
)

// Reason is what such an end says of itself, where nobody knows more.
func (o Outcome) Reason() Reason {
	switch o {
	case Cancelled:
		return ClientGone
	case Reset:
		return ResetByPeer
	case Refused:
		return RefusedStream
	}
	return Plain
}

// Request is what is known of a request once it has ended.
type Request struct {
	Outcome       Outcome
	Failed        bool
	Faulted       bool // delayed, or answered with an error, on purpose
	Limited       bool // refused by a rate limit, or by a limit of its cluster
	Latency       time.Duration
	Read, Written uint64 // bytes, from and to the other end of the mesh
}

// Count counts the request in its cell.
func (r *Request) Count(c *metric.Cell) {
	c.Requests.Add(1)
	if r.Failed {
		c.Failures.Add(1)
	}
	if r.Outcome == Timeout {
		c.Timeouts.Add(1)
	}
	if r.Faulted {
		c.Faulted.Add(1)
	}
	if r.Limited {
		c.Limited.Add(1)
	}
	c.ObserveLatency(r.Latency)
	c.ReadBytes.Add(r.Read)
	c.WrittenBytes.Add(r.Written)
}
