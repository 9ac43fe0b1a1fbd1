package health

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// message is what the check was compiled from, as far as these tests need it.
func (c *Check) message() *api.HealthCheck {
	return &api.HealthCheck{
		Check:              &api.HealthCheck_Http{Http: &api.HTTPCheck{Path: c.path}},
		IntervalMs:         uint64(c.interval.Milliseconds()),
		TimeoutMs:          uint64(c.timeout.Milliseconds()),
		HealthyThreshold:   uint32(c.healthy),
		UnhealthyThreshold: uint32(c.unhealthy),
	}
}

func TestWhatNobodyCanCheckIsRefused(t *testing.T) {
	good := get(t)
	for name, change := range map[string]func(*api.HealthCheck){
		"no check":      func(m *api.HealthCheck) { m.Check = nil },
		"interval_ms":   func(m *api.HealthCheck) { m.IntervalMs = 99 },
		"timeout_ms":    func(m *api.HealthCheck) { m.TimeoutMs = m.IntervalMs + 1 },
		"thresholds":    func(m *api.HealthCheck) { m.HealthyThreshold = 0 },
		"the proxy's":   func(m *api.HealthCheck) { m.Port = 4191 },
		"no port":       func(m *api.HealthCheck) { m.Port = 1 << 16 },
		"a slash":       func(m *api.HealthCheck) { m.GetHttp().Path = "live" },
		"must be escap": func(m *api.HealthCheck) { m.GetHttp().Path = "/a b" },
		"no name has":   func(m *api.HealthCheck) { m.GetHttp().Host = "a b" },
		"statuses from": func(m *api.HealthCheck) {
			m.GetHttp().Statuses = []*api.StatusRange{{Min: 300, Max: 200}}
		},
		"ranges": func(m *api.HealthCheck) {
			m.GetHttp().Statuses = make([]*api.StatusRange, api.MaxStatusRanges+1)
		},
		"name of a service": func(m *api.HealthCheck) {
			m.Check = &api.HealthCheck_Grpc{Grpc: &api.GRPCCheck{
				Service: strings.Repeat("a", api.MaxCheckService+1)}}
		},
	} {
		m := good.message()
		change(m)
		c, err := Compile(&api.Inbound{Port: 8080, HealthCheck: m})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if c, err := Compile(&api.Inbound{Port: 8080}); c != nil || err != nil {
		t.Errorf("of no check: %v, %v", c, err)
	}
}

func TestEqualChecks(t *testing.T) {
	one, same := get(t), get(t)
	other := get(t, func(m *api.HealthCheck) { m.UnhealthyThreshold++ })
	if !one.Equal(same) || one.Equal(other) || one.Equal(nil) || !(*Check)(nil).Equal(nil) {
		t.Error("a check is equal to one that says the same, and to no other")
	}
}
