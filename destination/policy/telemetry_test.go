package policy

import (
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// What a TelemetryPolicy may say of an access log a proxy takes, and nothing less.
func TestTheBoundsOfAnAccessLogAreTheProxys(t *testing.T) {
	if crd.MaxLogLines != api.MaxLogLines || crd.MaxFraction != api.MaxLogSample {
		t.Errorf("%d lines and one in %d in a policy, %d and %d on the wire", crd.MaxLogLines,
			crd.MaxFraction, api.MaxLogLines, api.MaxLogSample)
	}
}
