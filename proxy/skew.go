package proxy

import (
	"crypto/tls"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// skews count peers that cannot be verified because one of the two clocks is wrong. They are there
// from the start: whoever watches them must see the first.
type skews struct{ caller, endpoint, control *metric.Counter }

func newSkews(r *metric.Registry) skews {
	of := func(peer string) *metric.Counter { return r.Counter(metric.NotYetValid, peer) }
	return skews{of("caller"), of("endpoint"), of("control_plane")}
}

// counting has a config count the peers whose certificates are not valid yet.
func counting(cfg *tls.Config, early *metric.Counter) *tls.Config {
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		err := verify(cs)
		if spiffe.NotYetValid(err) {
			early.Inc()
		}
		return err
	}
	return cfg
}
