package explain

import (
	"context"
	"log/slog"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/health"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// model is what a proxy makes of what destination tells it: the proxy's own session, of which no
// stream was opened.
type model struct {
	*discover.Session
	registry *metric.Registry
	refused  refusals
}

// newModel makes a proxy that has heard nothing yet.
func newModel() *model {
	m := &model{registry: metric.NewRegistry()}
	m.Session = discover.New(discover.Options{
		Cfg: config.Config{Limits: config.DefaultLimits()}, Log: slog.New(&m.refused),
		Failures: &metric.Counter{}, Metrics: m.registry,
		Attach:    func() any { return nil },
		Configure: func(*api.Config) error { return nil },
		Checked:   func(uint16, *health.Check) {},
		Limited:   m.registry.Limited,
		Applied:   func(balance.Change) {},
	})
	return m
}

// hear has the proxy take what it is told.
func (m *model) hear(told *Told, key *api.Key) {
	where := told.Asker
	if where == nil {
		where = &destination.Asker{}
	}
	m.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Welcome{Welcome: &api.Welcome{
		Locality: &api.Locality{Region: where.Region, Zone: where.Zone, Node: where.Node},
	}}})
	if told.Invalid != "" {
		m.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Invalid{
			Invalid: &api.Invalid{Key: key, Reason: told.Invalid},
		}})
		return
	}
	m.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: told.Messages},
	}})
}

// refusals is what a proxy logs as an error: why it cannot use something.
type refusals struct{ all []string }

func (r *refusals) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelError
}

func (r *refusals) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			r.all = append(r.all, a.Value.String())
		}
		return true
	})
	return nil
}

func (r *refusals) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *refusals) WithGroup(string) slog.Handler      { return r }

// head is the request's, as a proxy has it.
func (r *Request) head() []hpack.HeaderField {
	out := []hpack.HeaderField{
		{Name: ":method", Value: r.Method}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: r.Authority}, {Name: ":path", Value: r.Path},
	}
	for _, h := range r.Headers {
		out = append(out, hpack.HeaderField{Name: h.Name, Value: h.Value})
	}
	return out
}
