package destination

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Whatever a proxy sends, the stream answers with messages that can be encoded, or ends.
func FuzzRequests(f *testing.F) {
	for _, key := range []*api.Key{
		address("10.96.0.10:80"), authority("web.shop"), authority("db-1.db:5432"),
		{Key: &api.Key_InboundPort{InboundPort: 8080}}, nil,
	} {
		held := []*api.Held{{Kind: api.Kind_KIND_ENDPOINTS, Name: webName,
			Version: "0123456789abcdef01234567"}}
		f.Add(encode(f, &api.DiscoverRequest{
			Message: &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}}}))
		f.Add(encode(f, resume(true, held...)))
		f.Add(encode(f, &api.DiscoverRequest{
			Message: &api.DiscoverRequest_Unsubscribe{Unsubscribe: &api.Unsubscribe{Key: key}}}))
	}
	f.Add(encode(f, &api.DiscoverRequest{Message: &api.DiscoverRequest_Demand{Demand: &api.Demand{
		Port: 8080, Pool: strings.Repeat("a", api.PoolLen), Sequence: 1, Wanted: 2, Share: 3,
		Lent: 4}}}))
	reg := registryOf(f, cluster, limiting("shop", "a", "web", sharedLimit))
	f.Fuzz(func(t *testing.T, data []byte) {
		req := &api.DiscoverRequest{}
		if proto.Unmarshal(data, req) != nil {
			return
		}
		h := newHub(reg, testMesh())
		s := newStream(h, caller{namespace: "shop", pod: "web-1", node: "n1"},
			newRejections(slog.New(slog.DiscardHandler)), func(m *api.DiscoverResponse) error {
				_, err := proto.Marshal(m)
				return err
			})
		if d := req.GetDemand(); d.GetSequence() > 0 {
			takesPart(d)
		}
		if s.receive(req) != nil {
			return
		}
		_ = s.receive(resume(true)) // an error where req was the last one
		if err := s.flush(); err != nil {
			t.Fatal(err)
		}
		s.close()
		if h.size() != 0 {
			t.Error("a cell is left")
		}
	})
}

// takesPart has a limit's members say it, as one that has a share and one that has been told.
func takesPart(d *api.Demand) {
	l, now := &lending{}, time.Unix(1e9, 0)
	all := []*sharer{{own: 50}, {own: 50}}
	for range 3 {
		for _, m := range all {
			l.hear(m, d, now)
			l.settle(now, func(*sharer, *api.Share) {})
			now = now.Add(time.Minute)
		}
	}
}

func encode(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
