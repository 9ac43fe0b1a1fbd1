package health

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// method is how a port is asked.
type method uint8

const (
	tcp method = iota
	overHTTP1
	overHTTP2
	overGRPC
)

// Check is how a port is checked. It is immutable, and equal to one that says the same.
type Check struct {
	method             method
	path, host         string
	statuses           [api.MaxStatusRanges]statusRange
	service            string
	interval, timeout  time.Duration
	healthy, unhealthy int
	port               uint16 // which is asked; 0: the one that is checked
}

// statusRange is HTTP statuses, both ends included; none if it is zero.
type statusRange struct{ min, max uint32 }

// Compile reads the check of a port; nil: it has none. What this proxy does not understand is an
// error.
func Compile(m *api.Inbound) (*Check, error) {
	if m.HealthCheck == nil {
		return nil, nil
	}
	c, err := compile(m.HealthCheck, m.Protocol)
	if err == nil && isOwn(cmp.Or(m.HealthCheck.Port, m.Port)) {
		err = fmt.Errorf("port %d is the proxy's own", cmp.Or(m.HealthCheck.Port, m.Port))
	}
	if err != nil {
		return nil, fmt.Errorf("health check: %w", err)
	}
	return c, nil
}

// isOwn is for the ports whose answers would be the proxy's, and say nothing of the application.
func isOwn(port uint32) bool {
	return port == config.OutboundPort || port == config.InboundPort || port == config.AdminPort
}

func compile(m *api.HealthCheck, protocol api.Protocol) (*Check, error) {
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	c := &Check{
		interval: millis(m.IntervalMs), timeout: millis(m.TimeoutMs),
		healthy: int(m.HealthyThreshold), unhealthy: int(m.UnhealthyThreshold),
		port: uint16(m.Port),
	}
	if err := c.bound(m); err != nil {
		return nil, err
	}
	switch how := m.Check.(type) {
	case *api.HealthCheck_Http:
		c.method = overHTTP1
		if protocol == api.Protocol_PROTOCOL_HTTP2 && m.Port == 0 {
			c.method = overHTTP2
		}
		return c, c.compileHTTP(how.Http)
	case *api.HealthCheck_Grpc:
		c.method = overGRPC
		return c, c.compileGRPC(how.Grpc)
	case *api.HealthCheck_Tcp:
		return c, api.Understood(how.Tcp)
	}
	return nil, errors.New("it has no check that this proxy knows")
}

func (c *Check) bound(m *api.HealthCheck) error {
	within := func(n uint32) bool { return 1 <= n && n <= api.MaxThreshold }
	switch {
	case c.interval < api.MinCheckInterval || c.interval > api.MaxCheckInterval:
		return fmt.Errorf("interval_ms is %d, and must be from %v to %v", m.IntervalMs,
			api.MinCheckInterval, api.MaxCheckInterval)
	case c.timeout <= 0 || c.timeout > c.interval:
		return fmt.Errorf("timeout_ms is %d, and must be from 1 to the interval", m.TimeoutMs)
	case !within(m.HealthyThreshold) || !within(m.UnhealthyThreshold):
		return fmt.Errorf("thresholds are %d and %d, and must be from 1 to %d",
			m.HealthyThreshold, m.UnhealthyThreshold, api.MaxThreshold)
	case m.Port > math.MaxUint16:
		return fmt.Errorf("port %d is no port", m.Port)
	}
	return nil
}

func (c *Check) compileHTTP(m *api.HTTPCheck) error {
	if err := api.Understood(m); err != nil {
		return err
	}
	if err := api.CheckTarget(m.Path); err != nil {
		return err
	}
	if m.Host != "" {
		if err := api.CheckHost(m.Host); err != nil {
			return err
		}
	}
	if len(m.Statuses) > api.MaxStatusRanges {
		return fmt.Errorf("%d ranges of statuses, more than %d", len(m.Statuses),
			api.MaxStatusRanges)
	}
	c.path, c.host = m.Path, m.Host
	c.statuses[0] = statusRange{200, 299}
	for i, s := range m.Statuses {
		if err := api.Understood(s); err != nil {
			return err
		}
		if s.Min < 100 || s.Max > 599 || s.Min > s.Max {
			return fmt.Errorf("statuses from %d to %d", s.Min, s.Max)
		}
		c.statuses[i] = statusRange{s.Min, s.Max}
	}
	return nil
}

func (c *Check) compileGRPC(m *api.GRPCCheck) error {
	if err := api.Understood(m); err != nil {
		return err
	}
	if len(m.Service) > api.MaxCheckService || !utf8.ValidString(m.Service) {
		return fmt.Errorf("the name of a service of %d bytes, more than %d", len(m.Service),
			api.MaxCheckService)
	}
	c.service = m.Service
	return nil
}

// Equal reports whether two checks are the same; none is nil.
func (c *Check) Equal(other *Check) bool {
	if c == nil || other == nil {
		return c == other
	}
	return *c == *other
}

// takes reports whether an answer's status is a good one.
func (c *Check) takes(status uint32) bool {
	for _, s := range c.statuses {
		if s.min <= status && status <= s.max {
			return true
		}
	}
	return false
}

// millis is a time on the wire; one that is beyond all bounds stays so.
func millis(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt32)) * time.Millisecond
}
