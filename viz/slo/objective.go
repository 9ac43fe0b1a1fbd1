package slo

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Bounds of what is kept.
const (
	// MaxObjectives is how many a book has at most, each with 75 KB: see MaxBytes.
	MaxObjectives = 500
	// maxWindow is the longest window.
	maxWindow = 90 * day
	// MaxBytes is what the counts of as many objectives as there may be take.
	MaxBytes = MaxObjectives * 80 << 10

	day = 24 * time.Hour
)

// Objective is a promise: of the requests that callers in the mesh make of a service, this part
// does not go wrong.
type Objective struct {
	Namespace string        // its own, and its service's
	Name      string        // of the object
	Service   string        // what is called
	Route     string        // of it, as metrics call it; "" is all of them
	Target    float64       // the part that is promised: 0.999
	Window    time.Duration // over which it is promised, in whole days
	// Latency is what a request that goes well takes less than; 0 is any time. What counts is the
	// nearest bound of the proxies' histograms.
	Latency time.Duration
}

// key is what an objective is known by.
type key struct{ namespace, name string }

func (o *Objective) key() key { return key{o.Namespace, o.Name} }

// allowed is the part of the requests that may go wrong.
func (o *Objective) allowed() float64 { return 1 - o.Target }

// counts says whether two objectives, of which the promises may differ, are about the same
// requests.
func (o *Objective) counts(other *Objective) bool {
	return o.key() == other.key() && o.Service == other.Service && o.Route == other.Route &&
		o.Latency == other.Latency
}

// Bucket is the first bucket of the proxies' histograms whose requests are too slow; 0 is none.
func (o *Objective) Bucket() int {
	if o.Latency == 0 {
		return 0
	}
	return metric.Index(metric.Snap(o.Latency))
}

// Count is how many requests there were, and how many of them went wrong.
type Count struct {
	Requests uint64
	Bad      uint64
}

func (c *Count) add(o Count) { c.Requests, c.Bad = c.Requests+o.Requests, c.Bad+o.Bad }

// badRatio is the part that went wrong; nil where there was nothing.
func (c Count) badRatio() *float64 {
	if c.Requests == 0 {
		return nil
	}
	r := float64(c.Bad) / float64(c.Requests)
	return &r
}
