package authorize

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var (
	byIdentity = &api.RateKey{Key: &api.RateKey_Identity{Identity: &api.CallerIdentity{}}}
	byPath     = &api.RateKey{Key: &api.RateKey_Path{Path: &api.RequestPath{}}}
	byUser     = &api.RateKey{Key: &api.RateKey_Header{Header: "x-user"}}
)

// limit is of so many requests a second, all of which may come at once.
func limit(requests uint64, keys ...*api.RateKey) *api.RateLimit {
	return &api.RateLimit{Requests: requests, WindowMs: 1000, Keys: keys,
		Origin: &api.Origin{Namespace: "shop", Name: "web", Rule: "few"}}
}

// onlyPosts is what the tests' condition on the method means.
func onlyPosts(m *api.Match) (func([]hpack.HeaderField) bool, error) {
	if m.GetMethod() != "POST" {
		return nil, errors.New("a match that the test does not know")
	}
	return func(req []hpack.HeaderField) bool { return req[0].Value == "POST" }, nil
}

func limits(t testing.TB, counts *metric.Registry, list ...*api.RateLimit) *Limits {
	t.Helper()
	ls, err := CompileLimits(&api.Inbound{RateLimits: list}, onlyPosts, counts.Limited)
	if err != nil {
		t.Fatal(err)
	}
	return ls
}

func request(method, path, user string) []hpack.HeaderField {
	req := []hpack.HeaderField{{Name: ":method", Value: method}, {Name: ":path", Value: path}}
	if user != "" {
		req = append(req, hpack.HeaderField{Name: "x-user", Value: user})
	}
	return req
}

// rated are the callers and requests of a test, one letter each.
var rated = map[rune]struct {
	who Caller
	req []hpack.HeaderField
}{
	'f': {Caller{ID: friend}, request("GET", "/a", "")},
	's': {Caller{ID: stranger}, request("GET", "/a?q=1", "ann")},
	'S': {Caller{ID: stranger}, request("GET", "/b", "bob")},
	'n': {Caller{}, request("GET", "/b?q=2", "ann")},
	'N': {Caller{Security: metric.PlaintextUnmeshed}, request("POST", "/c", "")},
	'l': {Caller{Security: metric.Loopback}, request("POST", "/a", "")},
}

// admitted writes the letters of those requests that are, all of which come at once.
func (ls *Limits) admitted(requests string, now time.Time) string {
	return strings.Map(func(letter rune) rune {
		r := rated[letter]
		if ls.Take(&r.who, r.req, now).Limit != nil {
			return '.'
		}
		return letter
	}, requests)
}

func TestRequestsThatShareABucket(t *testing.T) {
	posts := limit(1)
	posts.Match = &api.Match{Match: &api.Match_Method{Method: "POST"}}
	trial := limit(1)
	trial.DryRun = true
	for _, tt := range []struct {
		name            string
		requests, admit string
		limits          []*api.RateLimit
	}{
		{"no limit", "fsSnNl", "fsSnNl", nil},
		{"one bucket", "fsSnNl", "fs...l", []*api.RateLimit{limit(2)}},
		{"callers without an identity are one", "ffssSnnNN", "f.s..n...",
			[]*api.RateLimit{limit(1, byIdentity)}},
		{"paths are without their query", "fsSnNf", "f.S.N.", []*api.RateLimit{limit(1, byPath)}},
		{"requests without the header are one", "fsSnN", "fsS..",
			[]*api.RateLimit{limit(1, byUser)}},
		{"several keys", "fsSnNsSnN", "fsSnN....",
			[]*api.RateLimit{limit(1, byIdentity, byUser, byPath)}},
		{"a condition", "fsNNf", "fsN.f", []*api.RateLimit{posts}},
		{"what one limit refuses no limit counts", "ffs", "f.s",
			[]*api.RateLimit{limit(2), limit(1, byIdentity)}},
		{"the same in another order", "ffs", "f.s",
			[]*api.RateLimit{limit(1, byIdentity), limit(2)}},
		{"a dry run", "fsSnN", "fsSnN", []*api.RateLimit{trial}},
		{"a dry run beside another", "fsSnN", "fs...", []*api.RateLimit{trial, limit(2)}},
		{"the pod's own", "llll", "llll", []*api.RateLimit{limit(1)}},
	} {
		ls := limits(t, metric.NewRegistry(), tt.limits...)
		if got := ls.admitted(tt.requests, time.Now()); got != tt.admit {
			t.Errorf("%s: of %s admitted are %s, want %s", tt.name, tt.requests, got, tt.admit)
		}
	}
}

// What is beyond a limit is counted by limit, and by whether it was refused.
func TestWhatIsBeyondALimitIsCounted(t *testing.T) {
	r := metric.NewRegistry()
	trial := limit(1)
	trial.DryRun, trial.Origin.Rule = true, "trial"
	ls := limits(t, r, limit(2), trial)
	ls.admitted("ffff", time.Now())
	for _, tt := range []struct {
		rule     string
		enforced bool
		want     uint64
	}{{"few", true, 2}, {"trial", false, 3}, {"few", false, 0}} {
		l := metric.RateLimit{
			Namespace: "shop", Policy: "web", Limit: tt.rule, Enforced: tt.enforced,
		}
		if n := r.Limited(l).Load(); n != tt.want {
			t.Errorf("%+v: %d, want %d", l, n, tt.want)
		}
	}
}

func TestADryRunIsToldOf(t *testing.T) {
	trial := limit(1)
	trial.DryRun = true
	ls, now := limits(t, metric.NewRegistry(), trial), time.Now()
	r := rated['f']
	for i, want := range []bool{false, true, true} {
		over := ls.Take(&r.who, r.req, now)
		if over.Refusal() != nil || (over.DryRun != nil) != want {
			t.Errorf("request %d: %+v", i, over)
		}
	}
	if over := ls.Take(&r.who, r.req, now.Add(time.Second)); over.DryRun != nil {
		t.Errorf("a second later: %+v", over)
	}
}

// A caller is told when to come again, by the limit for which it has to wait longest.
func TestARefusalSaysWhen(t *testing.T) {
	slow := limit(2, byIdentity)
	slow.WindowMs, slow.Burst, slow.Origin.Rule = 180_500, 1, `per "caller"\`
	ls, now := limits(t, metric.NewRegistry(), limit(1), slow), time.Now()
	r := rated['f']
	if refused := ls.Take(&r.who, r.req, now).Refusal(); refused != nil {
		t.Fatal(refused.Reason)
	}
	refused := ls.Take(&r.who, r.req, now.Add(30*time.Second)).Refusal()
	if refused == nil {
		t.Fatal("the second request is admitted")
	}
	if refused.Status != 429 || refused.Over.RetryAfter() != 61 ||
		!strings.Contains(refused.Reason, `per "caller"\ of shop/web, 2 requests in 3m0.5s`) {
		t.Errorf("%d %q after %d s", refused.Status, refused.Reason, refused.Over.RetryAfter())
	}
	const name = `"per \"caller\"\\"`
	if got := refused.Over.Limit.Policy; got != name+";q=2;w=181" {
		t.Errorf("the policy is %s", got)
	}
	if got := refused.Over.RateLimit(); got != name+";r=0;t=61" {
		t.Errorf("the state is %s", got)
	}
}

// An update fills no bucket of a limit that is about the same requests, whatever else it says.
func TestBucketsOutliveAnUpdate(t *testing.T) {
	now := time.Now()
	change := func(f func(m *api.RateLimit)) *api.RateLimit {
		m := limit(4, byIdentity)
		f(m)
		return m
	}
	for _, tt := range []struct {
		name  string
		after []*api.RateLimit
		later time.Duration
		want  string // of ffffff, after ffff
	}{
		{"nothing new", []*api.RateLimit{limit(4, byIdentity)}, 0, "......"},
		{"after a while", []*api.RateLimit{limit(4, byIdentity)}, time.Second / 2, "ff...."},
		{"another limit before it", []*api.RateLimit{limit(100, byPath), limit(4, byIdentity)}, 0,
			"......"},
		{"two that are alike", []*api.RateLimit{limit(4, byIdentity), limit(4, byIdentity)}, 0,
			"......"},
		{"half of the rate", []*api.RateLimit{limit(2, byIdentity)}, time.Second / 2, "f....."},
		{"twice the rate", []*api.RateLimit{limit(8, byIdentity)}, time.Second / 4, "ff...."},
		{"a dry run of the same before it", []*api.RateLimit{
			change(func(m *api.RateLimit) { m.DryRun = true }), limit(4, byIdentity)}, 0, "ffff.."},
		{"another object",
			[]*api.RateLimit{change(func(m *api.RateLimit) { m.Origin.Name = "other" })}, 0,
			"ffff.."},
		{"other keys", []*api.RateLimit{limit(4)}, 0, "ffff.."},
		{"none", nil, 0, "ffffff"},
	} {
		before := limits(t, metric.NewRegistry(), limit(4, byIdentity))
		before.admitted("ffff", now)
		after := limits(t, metric.NewRegistry(), tt.after...).After(before)
		if got := after.admitted("ffffff", now.Add(tt.later)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if after.After(after) != after {
			t.Errorf("%s: limits are others after themselves", tt.name)
		}
	}
}

// A window that was long does not count once it is short.
func TestABucketIsNoEmptierThanItsRateMakesIt(t *testing.T) {
	now := time.Now()
	slow := limit(1)
	slow.WindowMs = 3600_000
	before := limits(t, metric.NewRegistry(), slow)
	before.admitted("f", now)
	after := limits(t, metric.NewRegistry(), limit(1)).After(before)
	if got := after.admitted("f", now); got != "." {
		t.Errorf("at once: %s", got)
	}
	if got := after.admitted("ff", now.Add(time.Second)); got != "f." {
		t.Errorf("a second later: %s", got)
	}
}

// A million values take no more memory than the table has, and whoever goes on asking is not
// forgotten among them, though it is refused.
func TestBucketsAreBounded(t *testing.T) {
	ls, now := limits(t, metric.NewRegistry(), limit(1, byUser)), time.Now()
	who, busy := &Caller{}, request("GET", "/", "busy")
	ls.Take(who, busy, now)
	req := request("GET", "/", "any")
	for i := range 1_000_000 {
		req[2].Value = fmt.Sprint(i)
		if ls.Take(who, req, now.Add(time.Duration(i))).Limit != nil {
			t.Fatalf("the first request of %d is refused", i)
		}
		if i%(maxBuckets/2) == 0 && ls.Take(who, busy, now).Limit == nil {
			t.Fatalf("a busy bucket is full again after %d others", i)
		}
	}
	if n := ls.list[0].buckets.tats.Len(); n != maxBuckets {
		t.Errorf("%d buckets, want %d", n, maxBuckets)
	}
	req[2].Value = "0"
	if ls.Take(who, req, now).Limit != nil {
		t.Error("a bucket that was forgotten is not full")
	}
}

// Requests whose buckets are there cost nothing of the heap, admitted or not.
func TestARequestWithinLimitsAllocatesNothing(t *testing.T) {
	ls, now := limits(t, metric.NewRegistry(), limit(1e9), limit(1e9, byIdentity),
		limit(1e9, byPath, byUser), limit(1)), time.Now()
	r := rated['s']
	ls.Take(&r.who, r.req, now)
	if n := testing.AllocsPerRun(1000, func() { ls.Take(&r.who, r.req, now) }); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func TestWhatIsNotUnderstoodIsNoLimit(t *testing.T) {
	unknown := func(m proto.Message) {
		tag := protowire.AppendTag(nil, 9999, protowire.VarintType)
		m.ProtoReflect().SetUnknown(protowire.AppendVarint(tag, 1))
	}
	for name, change := range map[string]func(*api.RateLimit){
		"no requests":        func(m *api.RateLimit) { m.Requests = 0 },
		"too many":           func(m *api.RateLimit) { m.Requests = api.MaxRateRequests + 1 },
		"too large a burst":  func(m *api.RateLimit) { m.Burst = api.MaxRateRequests + 1 },
		"a window too short": func(m *api.RateLimit) { m.WindowMs = 999 },
		"a window too long":  func(m *api.RateLimit) { m.WindowMs = 3600_001 },
		"a match of no kind": func(m *api.RateLimit) { m.Match = &api.Match{} },
		"a key of no kind":   func(m *api.RateLimit) { m.Keys = []*api.RateKey{{}} },
		"a header of no name": func(m *api.RateLimit) {
			m.Keys[0] = &api.RateKey{Key: &api.RateKey_Header{}}
		},
		"a newer field":     func(m *api.RateLimit) { unknown(m) },
		"of the origin":     func(m *api.RateLimit) { unknown(m.Origin) },
		"of the key":        func(m *api.RateLimit) { unknown(m.Keys[0]) },
		"of the key's kind": func(m *api.RateLimit) { unknown(m.Keys[0].GetIdentity()) },
	} {
		m := proto.Clone(limit(1, byIdentity)).(*api.RateLimit)
		change(m)
		list := []*api.RateLimit{limit(1), m}
		if ls, err := CompileLimits(&api.Inbound{RateLimits: list}, onlyPosts,
			metric.NewRegistry().Limited); err == nil {
			t.Errorf("%s: %+v", name, ls)
		}
	}
	many := make([]*api.RateLimit, api.MaxRateLimits+1)
	for i := range many {
		many[i] = limit(1)
	}
	if _, err := CompileLimits(&api.Inbound{RateLimits: many}, onlyPosts,
		metric.NewRegistry().Limited); err == nil {
		t.Error("more limits than there may be")
	}
}
