package viz

import (
	"math"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

var testReporter = reporter{"spiffe://cluster.local/ns/shop/sa/web", "shop", "web", "web-1"}

func TestBadReportsAreRefused(t *testing.T) {
	series := func(change func(*api.Series)) func(*api.ReportRequest) {
		return func(m *api.ReportRequest) { change(m.Series[0]) }
	}
	buckets := func(index []uint32, count []uint64) func(*api.ReportRequest) {
		return series(func(s *api.Series) { s.Bucket, s.BucketCount = index, count })
	}
	long := strings.Repeat("x", MaxLabelLength+1)
	for name, c := range map[string]struct {
		change func(*api.ReportRequest)
		code   codes.Code
		why    string
	}{
		"more indexes than counts": {buckets([]uint32{1, 2}, []uint64{1}), codes.InvalidArgument,
			"2 bucket indexes and 1 counts"},
		"more counts than indexes": {buckets(nil, []uint64{1}), codes.InvalidArgument,
			"0 bucket indexes and 1 counts"},
		"outside the scheme": {buckets([]uint32{metric.Buckets}, []uint64{1}),
			codes.InvalidArgument, "outside the scheme"},
		"far outside": {buckets([]uint32{math.MaxUint32}, []uint64{1}), codes.InvalidArgument,
			"outside the scheme"},
		"descending": {buckets([]uint32{5, 4}, []uint64{1, 1}), codes.InvalidArgument,
			"do not ascend"},
		"twice the same": {buckets([]uint32{5, 5}, []uint64{1, 1}), codes.InvalidArgument,
			"do not ascend"},
		"huge bucket": {buckets([]uint32{5}, []uint64{math.MaxUint64}), codes.InvalidArgument,
			"the limit is 2^53"},
		"huge counter": {series(func(s *api.Series) { s.ReadBytes = math.MaxUint64 }),
			codes.InvalidArgument, "the limit is 2^53"},
		"huge gauge": {series(func(s *api.Series) { s.ConnectionsOpen = 1 << 60 }),
			codes.InvalidArgument, "the limit is 2^53"},
		"no direction": {series(func(s *api.Series) { s.Labels.Direction = 0 }),
			codes.InvalidArgument, "no direction"},
		"unknown direction": {series(func(s *api.Series) { s.Labels.Direction = 9 }),
			codes.InvalidArgument, "no direction"},
		"unknown security": {series(func(s *api.Series) { s.Labels.Security = 9 }),
			codes.InvalidArgument, "security that this viz does not know"},
		"security 33, a bit's 1": {series(func(s *api.Series) { s.Labels.Security = 33 }),
			codes.InvalidArgument, "security that this viz does not know"},
		"long label": {series(func(s *api.Series) { s.Labels.Route = long }), codes.InvalidArgument,
			"a label has 513 bytes"},
		"long peer": {series(func(s *api.Series) { s.Labels.Peer = &api.Workload{Name: long} }),
			codes.InvalidArgument, "a label has"},
		"no start id": {func(m *api.ReportRequest) { m.StartId = "" }, codes.InvalidArgument,
			"start_id has 0 bytes"},
		"long start id": {func(m *api.ReportRequest) { m.StartId = long }, codes.InvalidArgument,
			"start_id has"},
		"long version": {func(m *api.ReportRequest) { m.Version = long }, codes.InvalidArgument,
			"version has"},
		"long kind": {func(m *api.ReportRequest) { m.Workload.Kind = long }, codes.InvalidArgument,
			"kind has"},
		"old as the hills": {func(m *api.ReportRequest) { m.UptimeMs = math.MaxUint64 },
			codes.InvalidArgument, "no uptime"},
		"empty series": {func(m *api.ReportRequest) { m.Series = append(m.Series, nil) },
			codes.InvalidArgument, "empty series"},
		"the same series twice": {func(m *api.ReportRequest) {
			m.Series = append(m.Series, m.Series[0])
		}, codes.InvalidArgument, "twice"},
		"too many series": {func(m *api.ReportRequest) {
			m.Series = make([]*api.Series, MaxSeriesPerProxy+1)
		}, codes.ResourceExhausted, "1025 series"},
		"workload without a name": {func(m *api.ReportRequest) { m.Workload.Name = "" },
			codes.PermissionDenied, `workload ""`},
	} {
		t.Run(name, func(t *testing.T) {
			m := webReport(time.Second, 1)
			c.change(m)
			_, err := checkReport(testReporter, m)
			if status.Code(err) != c.code ||
				!strings.Contains(status.Convert(err).Message(), c.why) {
				t.Errorf("refused with %v, want %s and %q", err, c.code, c.why)
			}
		})
	}
	if _, err := checkReport(testReporter, webReport(time.Second, 1)); err != nil {
		t.Errorf("a good report is refused: %v", err)
	}
}

func TestWorkloadOfAPodByItself(t *testing.T) {
	for name, w := range map[string]*api.Workload{
		"not known yet": nil, "empty": {},
		"its own": {Namespace: "shop", Kind: "Pod", Name: "web-1", Pod: "web-1"},
	} {
		m := webReport(time.Second, 1)
		m.Workload = w
		r, err := checkReport(testReporter, m)
		if err != nil || r.workload != (workload{"shop", "pod", "web-1", "web-1"}) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// What a proxy says ends up on somebody's terminal.
func TestLabelsArePrintable(t *testing.T) {
	m := webReport(time.Second, 1)
	m.Series[0].Labels.Route = "\x1b[2Jgone\u202e\n"
	r, err := checkReport(testReporter, m)
	if err != nil || r.series[0].labels.route != "?[2Jgone??" {
		t.Errorf("route is %q, %v", r.series[0].labels.route, err)
	}
}

// Whatever bytes a proxy sends, viz refuses them or its figures stay sound.
func FuzzReport(f *testing.F) {
	for _, change := range []func(*api.ReportRequest){
		func(*api.ReportRequest) {}, func(m *api.ReportRequest) { m.Series[0].Bucket = nil },
		func(m *api.ReportRequest) { m.Workload = nil },
		func(m *api.ReportRequest) { m.Series[0].Labels = nil },
		func(m *api.ReportRequest) { m.UptimeMs = 0 },
	} {
		m := webReport(time.Minute, 100)
		change(m)
		bytes, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		var m api.ReportRequest
		if proto.Unmarshal(bytes, &m) != nil {
			return
		}
		s, now := newStore(views), time.Unix(1_800_000_000, 0)
		from := &stream{who: testReporter}
		for range 3 {
			r, err := checkReport(testReporter, &m)
			if err != nil {
				return
			}
			if err := s.apply(now, from, r); err != nil {
				return
			}
			now = now.Add(slotLength)
			m.UptimeMs += 5000
		}
		checkSound(t, s, now)
	})
}

func checkSound(t *testing.T, s *store, now time.Time) {
	if s.size < 0 || s.bytes() > SeriesBudget || s.sizes[testReporter] > ReporterBudget {
		t.Errorf("size is %d, of the reporter %d", s.bytes(), s.sizes[testReporter])
	}
	answer, err := s.stat(now, Query{Resource: "ns"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range answer.Rows {
		if row.SuccessRate != nil && (*row.SuccessRate < 0 || *row.SuccessRate > 1) ||
			math.IsNaN(row.RPS) || math.IsInf(row.RPS, 0) {
			t.Errorf("row is %+v", row)
		}
	}
	for _, ask := range []func() error{
		func() error { _, err := s.edges(now, Query{}); return err },
		func() error { _, err := s.top(now, Query{}); return err },
		func() error { _, err := s.routes(now, Query{}); return err },
	} {
		if err := ask(); err != nil {
			t.Error(err)
		}
	}
}

// A pod passes for one of another workload's only where Kubernetes could have called it so.
func TestWhoseAPodMayBe(t *testing.T) {
	long := strings.Repeat("x", 57)
	for _, c := range []struct {
		pod, kind, name string
		want            bool
	}{
		{"web-5d8f-x2xyz", "deployment", "web", true},
		{"web-5d8f-x2xyz", "Deployment", "web", true},
		{"web-1", "deployment", "web", true}, // meshctl dev's
		{"web-canary-5d8f-x2xyz", "deployment", "web-canary", true},
		{"web-canary-5d8f-x2xyz", "deployment", "web", false},
		{"web-canary-x2xyz", "deployment", "web", false},
		{"web-canary-x2xyz", "daemonset", "web", false},
		{"web-canary-x2xyz", "daemonset", "web-canary", true},
		{"web-canary-0", "statefulset", "web", false},
		{"web-0", "statefulset", "web", true},
		{"web-x2xyz", "statefulset", "web", false},
		{"backup-29933342-x2xyz", "cronjob", "backup", true},
		{"backup-29933342-3-x2xyz", "cronjob", "backup", true},
		{"backup-nightly-29933342-x2xyz", "cronjob", "backup", false},
		{"backup-29933342-x2xyz", "job", "backup-29933342", true},
		{"train-3-x2xyz", "job", "train", true},
		{"web-5d8f-1-x2xyz", "rollout", "web", true}, // nobody here knows how they are called
		{"web", "pod", "web", true},
		{"web-1", "deployment", "", false},
		{"web-1", "deployment", "we", false},
		{"web-1", "deployment", "webx", false},
		{long + "-x2xyz", "deployment", long, true},
	} {
		if got := mayBelong(c.pod, c.kind, c.name); got != c.want {
			t.Errorf("%s of %s/%s: %v", c.pod, c.kind, c.name, got)
		}
	}
}
