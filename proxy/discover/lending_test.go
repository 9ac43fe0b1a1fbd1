package discover

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// pool is the one of the tests' limit.
var pool = strings.Repeat("a", api.PoolLen)

// lent has destination say a port's limit, of which the proxy has so many requests.
func lent(d *Session, version string, requests uint64, pool string) {
	m := &api.Inbound{Port: 80, Protocol: api.Protocol_PROTOCOL_HTTP1,
		Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_ALLOW,
		Reach: api.Reach_REACH_DIALED,
		RateLimits: []*api.RateLimit{{Origin: &api.Origin{Name: "web", Rule: "all"},
			Requests: requests, WindowMs: 1000}}}
	if pool != "" {
		m.Lendings = []*api.Lending{{Limit: 0, Pool: pool}}
	}
	key := &api.Key{Key: &api.Key_InboundPort{InboundPort: 80}}
	d.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: []*api.Resource{{Kind: api.Kind_KIND_INBOUND,
			Name: api.KeyString(key), Version: version,
			Body: &api.Resource_Inbound{Inbound: m}}}}}})
}

// A share is lent and borrowed as destination says, for as long as that says, and whatever becomes
// of the limit meanwhile, unless it is another.
func TestSharesAreAsDestinationSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSession(t)
		in := d.Port(80)
		lent(d, "1", 50, pool)
		has := func(what string, want uint64) {
			t.Helper()
			if got := in.Now().Limits.Loans()[0].Share(time.Now()); got != want {
				t.Errorf("%s: the share is %d, want %d", what, got, want)
			}
		}
		say := func(m *api.Share) {
			m.Port, m.Pool = 80, pool
			d.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Share{Share: m}})
		}
		has("at first", 50)
		in.Now().Limits.Loans()[0].Demand(time.Now()) // its sequence is 1
		say(&api.Share{Number: 1, Lend: 20, LendMs: 60_000})
		has("20 are lent", 30)
		say(&api.Share{Number: 1, Lend: 0})
		has("what was said before", 30)
		time.Sleep(10 * time.Second)
		say(&api.Share{Number: 2, Lend: 20, LendMs: 60_000, Borrow: 7, BorrowMs: 20_000,
			Sequence: 1})
		has("7 are borrowed", 37)
		lent(d, "2", 50, pool)
		has("the limit is said again", 37)
		time.Sleep(10 * time.Second)
		has("20 s after the demand", 30)
		time.Sleep(50 * time.Second)
		has("60 s after it was lent", 50)
		say(&api.Share{Number: 3, Lend: 400, LendMs: 60_000})
		has("all is asked for", 1)
		say(&api.Share{Number: 4, Borrow: 9, BorrowMs: 60_000, Sequence: 99})
		has("by a demand that is not known", 50)
		say(&api.Share{Number: 5, Lend: 20, LendMs: 60_000})
		lent(d, "3", 40, strings.Repeat("b", api.PoolLen))
		has("another limit", 40)
		lent(d, "4", 40, "")
		if n := len(in.Now().Limits.Loans()); n > 0 {
			t.Errorf("%d limits are lent", n)
		}
	})
}

// What was lent on one stream is not lent on the next one too.
func TestWhatIsLentStaysLentOnAnotherStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSession(t)
		in := d.Port(80)
		lent(d, "1", 50, pool)
		loan := in.Now().Limits.Loans()[0]
		say := func(m *api.Share) *api.Demand {
			return loan.Apply(m, d.streams, time.Now())
		}
		say(&api.Share{Number: 1, Lend: 30, LendMs: 60_000})
		d.mu.Lock()
		d.lending.beginLocked()
		d.mu.Unlock()
		if m := say(&api.Share{Number: 1, Lend: 30, LendMs: 60_000}); m.Lent != 19 || m.Share != 1 {
			t.Errorf("confirmed is %v", m)
		}
		if got := loan.Share(time.Now()); got != 1 {
			t.Errorf("the share is %d", got)
		}
		if m := say(&api.Share{Number: 2}); m.Lent != 0 {
			t.Errorf("confirmed is %v", m)
		}
		if got := loan.Share(time.Now()); got != 20 {
			t.Errorf("the share is %d, and 30 are lent", got)
		}
		time.Sleep(time.Minute)
		if got := loan.Share(time.Now()); got != 50 {
			t.Errorf("the share is %d", got)
		}
	})
}

// Whatever destination says of a share, the proxy has one, of at least a request.
func FuzzShares(f *testing.F) {
	for _, m := range []*api.Share{
		{Number: 1, Lend: 4, LendMs: 1000, Borrow: 3, BorrowMs: 1000, Sequence: 1}, {},
		{Number: 2, Lend: math.MaxUint64, LendMs: math.MaxUint64, Borrow: math.MaxUint64,
			BorrowMs: math.MaxUint64, Sequence: 1},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m := &api.Share{}
		if proto.Unmarshal(b, m) != nil {
			return
		}
		d := newSession(t)
		in := d.Port(80)
		lent(d, "1", 50, pool)
		loan := in.Now().Limits.Loans()[0]
		loan.Demand(time.Now())
		m.Pool = pool
		d.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Share{Share: m}})
		share := loan.Share(time.Now())
		if share < 1 || share > 50+api.MaxRateRequests {
			t.Errorf("%v makes a share of %d", m, share)
		}
		in.Now().Limits.Take(&authorize.Caller{Security: metric.MTLS}, nil, time.Now())
	})
}
