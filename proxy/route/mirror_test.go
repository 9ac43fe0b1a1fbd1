package route

import (
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

func mirroring(cluster string, numerator, denominator uint32) *api.Filter {
	return &api.Filter{Filter: &api.Filter_Mirror{Mirror: &api.Mirror{
		Cluster: cluster, Numerator: numerator, Denominator: denominator}}}
}

// Of so many requests in a row a mirror gets its share, give or take one or two.
func TestShareOfAMirror(t *testing.T) {
	const requests = 1000
	for _, tt := range []struct{ numerator, denominator, want, off uint32 }{
		{10, 100, 100, 1}, {1, 1000, 1, 1}, {50, 100, 500, 1}, {1, 3, 333, 2},
		{100, 100, requests, 0}, {7, 7, requests, 0}, {999, 1000, 999, 1},
	} {
		m, err := compileMirror(mirroring("c", tt.numerator, tt.denominator).GetMirror())
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			got := uint32(0)
			for range requests {
				if m.Takes() {
					got++
				}
			}
			if got+tt.off < tt.want || got > tt.want+tt.off {
				t.Errorf("%d of %d: %d of %d requests are copied, want %d", tt.numerator,
					tt.denominator, got, requests, tt.want)
			}
		}
	}
}

func TestMirrorsThatAreRefused(t *testing.T) {
	for _, f := range []*api.Filter{
		mirroring("", 1, 1), mirroring("c", 0, 1), mirroring("c", 2, 1), mirroring("c", 0, 0),
	} {
		if _, err := compileFilters([]*api.Filter{f}); err == nil {
			t.Errorf("%v is taken", f)
		}
	}
}

// A route's clusters are those of its mirrors too, each once.
func TestClustersOfMirrors(t *testing.T) {
	r, err := Compile(&api.Route{
		Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
		Backends: []*api.Backend{{Cluster: "a", Weight: 1}},
		Http: []*api.HTTPRule{{
			Filters: []*api.Filter{mirroring("b", 1, 1), mirroring("a", 1, 2)},
			Backends: []*api.Backend{
				{Cluster: "c", Weight: 1, Filters: []*api.Filter{mirroring("d", 1, 1)}},
				{Cluster: "e", Filters: []*api.Filter{mirroring("f", 1, 1)}},
			},
		}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	named := func(list []*Mirror) (out string) {
		for _, m := range list {
			out += r.Clusters[m.Index]
		}
		return out
	}
	u := r.Find(nil)
	if got := named(u.Mirrors) + " " + named(u.Backends.Pick().Mirrors); got != "ba d" {
		t.Errorf("mirrored to %q of %q", got, r.Clusters)
	}
	if len(r.Clusters) != 4 {
		t.Errorf("the route names %q", r.Clusters)
	}
	r.OnlyNames()
	if u.Mirrors != nil {
		t.Error("a mirror is left where only names are")
	}
}
