package balance

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

func bounded(b Bounds) *Cluster {
	c := NewCluster("web", func() any { return nil })
	c.Update(Params{Bounds: &b, Counts: new(metric.Cluster)}, announced(0, 1), time.Now())
	return c
}

func TestPlacesOfACluster(t *testing.T) {
	c := bounded(Bounds{metric.Requests: 2})
	for i, full := range []bool{false, false, true, true} {
		if taken, got := c.Occupy(metric.Requests); got != full || taken == full {
			t.Errorf("request %d: taken %v, full %v", i, taken, got)
		}
	}
	c.Vacate(metric.Requests)
	if taken, _ := c.Occupy(metric.Requests); !taken {
		t.Error("a place that was given back is not there")
	}
	if taken, full := c.Occupy(metric.Retries); taken || full {
		t.Error("there is a limit that nobody has set")
	}
}

// An endpoint that has no connection may have its first, whatever the others have.
func TestConnectionsOfACluster(t *testing.T) {
	c := bounded(Bounds{metric.Connections: 2})
	a, b := c.Current().All[0], c.Current().All[1]
	for i, tt := range []struct {
		e           *Endpoint
		first, want bool
	}{{a, true, true}, {a, false, true}, {a, false, false}, {b, true, true}, {b, false, false}} {
		if got := tt.e.Connect(tt.first); got != tt.want {
			t.Errorf("connection %d: %v", i, got)
		}
	}
	a.Disconnect()
	a.Disconnect()
	if !b.Connect(false) {
		t.Error("there is no room after connections have ended")
	}
}
