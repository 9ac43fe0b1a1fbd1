package discover

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// protection says what protects a cluster, and returns what the proxy makes of it.
func protection(
	t *testing.T, limits *api.ClusterLimits, o *api.OutlierDetection,
) (balance.Params, error) {
	t.Helper()
	d := newSession(t)
	m := &api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "web", Version: "1",
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: "web",
			Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}},
			Limits:   limits, OutlierDetection: o}}}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.applyClusterLocked(m); err != nil {
		return balance.Params{}, err
	}
	return *d.clusters["web"].params, nil
}

func TestWhatProtectsACluster(t *testing.T) {
	rate := &api.SuccessRate{ThresholdPercent: 80, WindowMs: 10_000, MinRequests: 5}
	deviation := &api.Deviation{Factor: 1.9, IntervalMs: 1000, MinEndpoints: 5, MinRequests: 100}
	for _, tt := range []struct {
		said *api.OutlierDetection
		want *balance.Outliers
	}{
		{nil, nil},
		{&api.OutlierDetection{ConsecutiveFailures: 7}, &balance.Outliers{Consecutive: 7,
			Base: time.Second, Max: time.Minute, MaxPercent: 50}},
		{&api.OutlierDetection{BaseEjectionMs: 300_000, MaxEjectedPercent: 10, DryRun: true},
			&balance.Outliers{Base: 5 * time.Minute, Max: 5 * time.Minute, MaxPercent: 10,
				DryRun: true}},
		{&api.OutlierDetection{SuccessRate: rate, Deviation: deviation, BaseEjectionMs: 30_000,
			MaxEjectionMs: 300_000, MaxEjectedPercent: 100},
			&balance.Outliers{Base: 30 * time.Second, Max: 5 * time.Minute, MaxPercent: 100,
				Rate: &balance.Rate{Percent: 80, Window: 10 * time.Second, MinRequests: 5},
				Deviation: &balance.Variation{Factor: 1.9, Interval: time.Second,
					MinEndpoints: 5, MinRequests: 100}}},
	} {
		got, err := protection(t, nil, tt.said)
		if err != nil || !reflect.DeepEqual(got.Outliers, tt.want) {
			t.Errorf("%v: %+v %v, want %+v", tt.said, got.Outliers, err, tt.want)
		}
		if (got.Counts != nil) != (tt.want != nil) || got.Bounds != nil {
			t.Errorf("%v: counted by %v, within %v", tt.said, got.Counts, got.Bounds)
		}
	}
	got, err := protection(t, &api.ClusterLimits{MaxConnections: 1, MaxPending: 2, MaxRequests: 3,
		MaxRetries: math.MaxUint32}, nil)
	want := balance.Bounds{metric.Connections: 1, metric.Pending: 2, metric.Requests: 3,
		metric.Retries: math.MaxUint32}
	if err != nil || *got.Bounds != want || got.Counts == nil {
		t.Errorf("limits are %v %v, want %v", got.Bounds, err, want)
	}
}

// What nobody can mean is an error that says which field it is.
func TestWhatDoesNotProtectACluster(t *testing.T) {
	const all = math.MaxUint32
	rate := func(percent uint32, window uint64, requests uint32) *api.OutlierDetection {
		return &api.OutlierDetection{SuccessRate: &api.SuccessRate{ThresholdPercent: percent,
			WindowMs: window, MinRequests: requests}}
	}
	deviation := func(factor float64, ms uint64, endpoints, n uint32) *api.OutlierDetection {
		return &api.OutlierDetection{Deviation: &api.Deviation{Factor: factor, IntervalMs: ms,
			MinEndpoints: endpoints, MinRequests: n}}
	}
	for _, tt := range []struct {
		said *api.OutlierDetection
		want string
	}{
		{&api.OutlierDetection{ConsecutiveFailures: all}, "consecutive_failures"},
		{&api.OutlierDetection{MaxEjectedPercent: 101}, "max_ejected_percent"},
		{&api.OutlierDetection{BaseEjectionMs: math.MaxUint64}, "ejection"},
		{&api.OutlierDetection{MaxEjectionMs: 86_400_001}, "ejection"},
		{&api.OutlierDetection{MaxEjectionMs: 999}, "max_ejection_ms"},
		{&api.OutlierDetection{BaseEjectionMs: 5000, MaxEjectionMs: 4999}, "max_ejection_ms"},
		{rate(0, 1000, 1), "threshold_percent"}, {rate(101, 1000, 1), "threshold_percent"},
		{rate(80, 9, 1), "window_ms"}, {rate(80, 3_600_001, 1), "window_ms"},
		{rate(80, math.MaxUint64, 1), "window_ms"}, {rate(80, 1000, 0), "min_requests"},
		{rate(80, 1000, all), "min_requests"},
		{deviation(0, 1000, 1, 1), "factor"}, {deviation(-1, 1000, 1, 1), "factor"},
		{deviation(math.NaN(), 1000, 1, 1), "factor"},
		{deviation(math.Inf(1), 1000, 1, 1), "factor"},
		{deviation(1, 0, 1, 1), "interval_ms"}, {deviation(1, 1000, 0, 1), "min_endpoints"},
		{deviation(1, 1000, 1, 0), "min_requests"},
	} {
		if _, err := protection(t, nil, tt.said); err == nil ||
			!strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: %v, want an error about %s", tt.said, err, tt.want)
		}
	}
}
