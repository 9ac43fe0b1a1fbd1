package discover

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// What a cluster's protection may say at most.
const (
	maxCount = 1_000_000 // requests, endpoints or failures
	// minWindow has ten slices of a millisecond.
	minWindow, maxWindow = 10 * time.Millisecond, time.Hour
	maxEjection          = 24 * time.Hour
	maxFactor            = 100 // standard deviations
)

// protect sets what protects a cluster and its callers.
func (d *Session) protect(c *api.Cluster, p *balance.Params) (err error) {
	if p.Outliers, err = compileOutliers(c.OutlierDetection); err != nil {
		return err
	}
	if p.Bounds, err = compileBounds(c.Limits); err != nil {
		return err
	}
	if p.Outliers != nil || p.Bounds != nil {
		p.Counts = d.Metrics.Cluster(c.Name) // whatever its variant
	}
	return nil
}

func compileBounds(m *api.ClusterLimits) (*balance.Bounds, error) {
	if m == nil {
		return nil, nil
	}
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	return &balance.Bounds{
		metric.Connections: int64(m.MaxConnections), metric.Pending: int64(m.MaxPending),
		metric.Requests: int64(m.MaxRequests), metric.Retries: int64(m.MaxRetries),
	}, nil
}

func compileOutliers(m *api.OutlierDetection) (*balance.Outliers, error) {
	if m == nil {
		return nil, nil
	}
	if err := api.Understood(m); err != nil {
		return nil, err
	}
	o := &balance.Outliers{Consecutive: int(m.ConsecutiveFailures), DryRun: m.DryRun,
		MaxPercent: int(m.MaxEjectedPercent)}
	if o.MaxPercent == 0 {
		o.MaxPercent = balance.DefaultMaxEjected
	}
	err := cmp.Or(
		atMost("consecutive_failures", m.ConsecutiveFailures, maxCount),
		atMost("max_ejected_percent", m.MaxEjectedPercent, 100),
		compileEjection(m, o))
	if err == nil {
		o.Rate, err = compileRate(m.SuccessRate)
	}
	if err == nil {
		o.Deviation, err = compileDeviation(m.Deviation)
	}
	if err != nil {
		return nil, fmt.Errorf("outlier detection: %w", err)
	}
	return o, nil
}

// compileEjection: a first time that is longer than the default's longest is the longest itself
// (Envoy).
func compileEjection(m *api.OutlierDetection, o *balance.Outliers) error {
	o.Base, o.Max = balance.DefaultEjection, balance.DefaultMaxEjection
	if m.BaseEjectionMs > 0 {
		o.Base = millis(m.BaseEjectionMs)
		o.Max = max(o.Max, o.Base)
	}
	if m.MaxEjectionMs > 0 {
		o.Max = millis(m.MaxEjectionMs)
	}
	switch {
	case o.Base > maxEjection || o.Max > maxEjection:
		return fmt.Errorf("an ejection of more than %v", maxEjection)
	case o.Max < o.Base:
		return fmt.Errorf("max_ejection_ms (%d) is less than the first ejection, %v",
			m.MaxEjectionMs, o.Base)
	}
	return nil
}

func compileRate(m *api.SuccessRate) (*balance.Rate, error) {
	if m == nil {
		return nil, nil
	}
	r := &balance.Rate{Percent: int(m.ThresholdPercent), Window: millis(m.WindowMs),
		MinRequests: int(m.MinRequests)}
	return r, cmp.Or(api.Understood(m),
		within("success_rate: threshold_percent", m.ThresholdPercent, 100),
		window("success_rate: window_ms", m.WindowMs),
		within("success_rate: min_requests", m.MinRequests, maxCount))
}

func compileDeviation(m *api.Deviation) (*balance.Variation, error) {
	if m == nil {
		return nil, nil
	}
	v := &balance.Variation{Factor: m.Factor, Interval: millis(m.IntervalMs),
		MinEndpoints: int(m.MinEndpoints), MinRequests: int(m.MinRequests)}
	var err error
	if !(m.Factor > 0 && m.Factor <= maxFactor) { // nor not a number
		err = fmt.Errorf("deviation: factor is %v, and must be from 0 to %d", m.Factor, maxFactor)
	}
	return v, cmp.Or(api.Understood(m), err,
		window("deviation: interval_ms", m.IntervalMs),
		within("deviation: min_endpoints", m.MinEndpoints, maxCount),
		within("deviation: min_requests", m.MinRequests, maxCount))
}

func atMost(field string, n, most uint32) error {
	if n > most {
		return fmt.Errorf("%s is %d, and must be at most %d", field, n, most)
	}
	return nil
}

func within(field string, n, most uint32) error {
	if n == 0 {
		return fmt.Errorf("%s is not said", field)
	}
	return atMost(field, n, most)
}

func window(field string, ms uint64) error {
	if d := millis(ms); d < minWindow || d > maxWindow {
		return fmt.Errorf("%s is %d, and must be from %v to %v", field, ms, minWindow, maxWindow)
	}
	return nil
}

// millis is a time on the wire; one that no Duration has is the longest.
func millis(ms uint64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}
