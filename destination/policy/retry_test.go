package policy

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
)

func TestRetriesOfRoutes(t *testing.T) {
	safe := []string{"GET", "HEAD", "OPTIONS", "PUT", "DELETE"}
	for _, c := range []struct {
		retry, match string
		want         *api.Retry
	}{
		{`{}`, "", &api.Retry{Listed: true, MaxTries: 2, Methods: safe}},
		{`{attempts: 0, codes: [503]}`, "", nil},
		{`{attempts: 99}`, "", &api.Retry{Listed: true, MaxTries: 100, Methods: safe}},
		{`{attempts: 3, codes: [500, 502, 503, 404], backoff: 100ms}`, "",
			&api.Retry{Listed: true, MaxTries: 4, Methods: safe, BackoffMs: 100,
				Statuses: []uint32{500, 502, 503, 404}, GrpcStatuses: []uint32{13, 14}}},
		{`{codes: [429, 504]}`, "method: POST",
			&api.Retry{Listed: true, MaxTries: 2, Methods: []string{"POST"},
				Statuses: []uint32{429, 504}, GrpcStatuses: []uint32{8, 4}}},
		{`{backoff: 1m}`, "path: {value: /a}", &api.Retry{Listed: true, MaxTries: 2, Methods: safe,
			BackoffMs: 60_000}},
	} {
		r := readHTTP(t, `rules: [{matches: [{`+c.match+`}], retry: `+c.retry+
			`, backendRefs: [{name: v1, port: 80}]}]`)
		p := Merge([]Route{r}, web80, "other")
		if got := p.Rules[0].Retry; !proto.Equal(got, c.want) || len(r.Dropped) > 0 {
			t.Errorf("%s of %q:\n got %v\nwant %v; dropped %v", c.retry, c.match, got, c.want,
				r.Dropped)
		}
		m := p.HTTP(func([]Backend) []*api.Backend { return nil })[0].Retry
		if !proto.Equal(m, c.want) {
			t.Errorf("%s of %q: on the wire %v", c.retry, c.match, m)
		}
		if named := p.Named()[0]; named.Retry != nil {
			t.Errorf("%s: the service is told %v", c.retry, named)
		}
	}
}

// Each match of a rule has its own methods.
func TestAMatchNamesItsMethod(t *testing.T) {
	r := readHTTP(t, `rules: [{matches: [{method: POST}, {path: {value: /a}}],
retry: {codes: [503]}, backendRefs: [{name: v1, port: 80}]}]`)
	for i, want := range []int{1, 5} {
		if got := r.Rules[i].Retry.GetMethods(); len(got) != want {
			t.Errorf("match %d has the methods %v", i, got)
		}
	}
}
