package api

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bounds of a Tracing.
const (
	// MaxRatio is all of the traces.
	MaxRatio = 1_000_000
	// MaxSlow bounds what is taken for slow; a request beyond it is not waited for by anybody.
	MaxSlow = time.Hour
	// MaxSpansPerSecond is about what a core exports. DefaultSpansPerSecond is for those who say
	// nothing: some of a proxy's requests at its busiest, and all of most proxies'.
	MaxSpansPerSecond     = 100_000
	DefaultSpansPerSecond = 1_000
	// DefaultRatio is what a busy mesh can afford, and Istio's default: 1 %.
	DefaultRatio = MaxRatio / 100
)

// Check refuses what a proxy cannot do, and names the field.
func (x *Tracing) Check() error {
	if err := Understood(x); err != nil {
		return err
	}
	if err := x.checkCollector(); err != nil {
		return err
	}
	slow := time.Duration(min(x.GetSlowMs(), uint64(2*MaxSlow/time.Millisecond))) * time.Millisecond
	switch {
	case x.GetRatio() > MaxRatio:
		return fmt.Errorf("a tracing ratio of %d in a million", x.GetRatio())
	case slow > MaxSlow:
		return fmt.Errorf("a tracing slow_ms of %d, more than %s", x.GetSlowMs(), MaxSlow)
	case slow > 0 && !x.GetKeepFailed():
		return fmt.Errorf("a tracing slow_ms of %d without keep_failed", x.GetSlowMs())
	case x.GetSpansPerSecond() == 0 || x.GetSpansPerSecond() > MaxSpansPerSecond:
		return fmt.Errorf("a tracing spans_per_second of %d, not 1 to %d", x.GetSpansPerSecond(),
			MaxSpansPerSecond)
	}
	return nil
}

// checkCollector is about where spans go. With neither an endpoint nor a protocol there is none.
func (x *Tracing) checkCollector() error {
	protocol := x.GetProtocol()
	switch protocol {
	case Transport_TRANSPORT_GRPC, Transport_TRANSPORT_HTTP:
	case Transport_TRANSPORT_UNSPECIFIED:
		if x.GetEndpoint() == "" {
			return nil
		}
		fallthrough
	default:
		return fmt.Errorf("a tracing protocol (%d) that this proxy does not know", protocol)
	}
	if err := CheckEndpoint(x.GetEndpoint()); err != nil {
		return fmt.Errorf("tracing endpoint: %w", err)
	}
	return nil
}

// CheckEndpoint refuses what is not HOST:PORT.
func CheckEndpoint(s string) error {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return fmt.Errorf("%q is not HOST:PORT", s)
	}
	if port, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil || port == 0 {
		return fmt.Errorf("%q is not HOST:PORT: %q is no port", s, s[i+1:])
	}
	return CheckHost(s[:i])
}

// Transports are as users write them.
var Transports = map[string]Transport{
	"grpc": Transport_TRANSPORT_GRPC, "http": Transport_TRANSPORT_HTTP,
}
