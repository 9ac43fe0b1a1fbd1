package crd

import (
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds of a BackendTrafficPolicy. Those of its numbers and times are the proxies', which refuse
// what is outside of them.
const (
	maxTargets  = 16 // as many as a status speaks of
	maxHashKeys = 16
	maxHashName = 256
	maxPath     = 1024
	maxFailover = 16

	maxAggression = 10.0
	minAggression = 0.1
	maxFactor     = 100.0
	minFactor     = 0.1
)

var (
	choices      = counts{2, 32}
	percent      = counts{1, 100}
	boundedLoad  = counts{1, 1000}
	ringSize     = counts{1, 1 << 20}
	tableSize    = counts{251, 1 << 20}
	limit        = counts{1, math.MaxInt32}
	requests     = counts{1, 1_000_000}
	minEndpoints = counts{2, 1_000_000}
	percentile   = counts{1, 99}
	buffer       = counts{1, 1000}
	concurrency  = counts{1, 1_000_000}
	baseline     = counts{10, 10_000} // requests
	subsetSize   = counts{10, 10_000}

	slowStart   = times{time.Second, 24 * time.Hour}
	rateWindow  = times{10 * time.Millisecond, time.Hour}
	ejection    = times{10 * time.Millisecond, 24 * time.Hour}
	maxEjection = times{time.Second, 24 * time.Hour}

	limitWindow   = times{10 * time.Millisecond, time.Minute}
	baselineEvery = times{time.Second, time.Hour}
	// cookieLife ends where browsers cut one off (RFC 6265bis, section 5.5).
	cookieLife = times{time.Second, 400 * 24 * time.Hour}
)

// counts is the least and the most that a number may be.
type counts struct{ least, most uint32 }

func (c counts) validate(path *field.Path, n *uint32) field.ErrorList {
	if n == nil || c.least <= *n && *n <= c.most {
		return nil
	}
	return field.ErrorList{field.Invalid(
		path, *n, fmt.Sprintf("must be between %d and %d", c.least, c.most))}
}

func (c counts) schema(description string) schemaProps {
	least, most := float64(c.least), float64(c.most)
	return schemaProps{Type: "integer", Format: "int32", Description: description,
		Minimum: &least, Maximum: &most}
}

// times is the least and the most that a duration may be.
type times struct{ least, most time.Duration }

func (t times) validate(path *field.Path, text string) field.ErrorList {
	return validateDuration(path, text, t.least, t.most)
}

func (t times) schema(description string) schemaProps {
	return durationSchema(description, t.least.String(), t.most.String())
}

// reservedHeader begins the names of the mesh's own headers, which proxies take from callers.
var reservedHeader = strings.TrimSuffix(Group, ".dev") + "-"

// isPrime is for numbers of at most tableSize.most.
func isPrime(n uint32) bool {
	for _, p := range smallPrimes() {
		if n%p == 0 {
			return n == p
		}
	}
	return n > 1
}

// smallPrimes are those up to the root of the largest table: one of them divides what is no prime.
func smallPrimes() (out []uint32) {
	for n := uint32(2); n*n <= tableSize.most; n++ {
		prime := true
		for _, p := range out {
			prime = prime && n%p != 0
		}
		if prime {
			out = append(out, n)
		}
	}
	return out
}
