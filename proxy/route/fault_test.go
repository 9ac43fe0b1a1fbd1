package route

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

var faultEnd = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// faulty is the rule of a route whose filters are faults.
func faulty(faults ...*api.Fault) (*Rule, error) {
	rule := &api.HTTPRule{Faults: faults}
	r, err := Compile(&api.Route{Resolution: api.Resolution_RESOLUTION_FOUND,
		Protocol: api.Protocol_PROTOCOL_DETECT, Http: []*api.HTTPRule{rule}}, nil)
	if err != nil {
		return nil, err
	}
	return r.Find(nil), nil
}

func untilEnd(f *api.Fault) *api.Fault {
	f.UntilMs = uint64(faultEnd.UnixMilli())
	return f
}

// Each share is met by any number of requests, to one of them, and neither depends on the other.
func TestFaultsTakeTheirShares(t *testing.T) {
	for _, tt := range []struct{ delayed, aborted uint32 }{
		{million, 0}, {0, million}, {100_000, 5_000}, {500_000, 500_000}, {1, 1},
		{999_999, 250_000},
	} {
		u, err := faulty(untilEnd(&api.Fault{DelayMs: 5, DelayShare: tt.delayed, Status: 503,
			AbortShare: tt.aborted}))
		if err != nil {
			t.Fatal(err)
		}
		const all = million
		delayed, aborted, both := 0, 0, 0
		for range all {
			delay, status := u.Befalls(nil, "", faultEnd.Add(-1))
			if delay > 0 {
				delayed++
			}
			if status > 0 {
				aborted++
			}
			if delay > 0 && status > 0 {
				both++
			}
		}
		apart := func(got int, want float64) bool { return math.Abs(float64(got)-want) > 20 }
		if apart(delayed, float64(tt.delayed)) || apart(aborted, float64(tt.aborted)) ||
			apart(both, float64(tt.delayed)*float64(tt.aborted)/million) {
			t.Errorf("%+v: %d delayed, %d aborted, %d both", tt, delayed, aborted, both)
		}
	}
}

// Ten of a hundred are ten, and not a dice roll, from the first request on.
func TestAShareIsEven(t *testing.T) {
	u, err := faulty(untilEnd(&api.Fault{Status: 500, AbortShare: 100_000}))
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		n := 0
		for range 100 {
			if _, status := u.Befalls(nil, "", faultEnd.Add(-1)); status == 500 {
				n++
			}
		}
		if n < 8 || n > 12 {
			t.Errorf("%d of a hundred", n)
		}
	}
}

func TestWhomFaultsBefall(t *testing.T) {
	tested := &api.Match{Match: &api.Match_Header{Header: &api.HeaderMatch{Name: "x-test",
		Value: &api.HeaderMatch_Exact{Exact: "1"}}}}
	u, err := faulty(
		untilEnd(&api.Fault{Match: tested, DelayMs: 30, DelayShare: million, Status: 501,
			AbortShare: million}),
		untilEnd(&api.Fault{DelayMs: 5, DelayShare: million}),
		untilEnd(&api.Fault{Callers: []string{"one", "two"}, DelayMs: 1000, DelayShare: million}),
		&api.Fault{DelayMs: 70, DelayShare: million, Status: 502, AbortShare: million,
			UntilMs: uint64(faultEnd.Add(-time.Hour).UnixMilli())},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		header, caller string
		before         time.Duration
		want           string
	}{
		{"1", "", time.Minute, "35ms 501"}, {"2", "three", time.Minute, "5ms 0"},
		{"1", "", 2 * time.Hour, "105ms 501"}, {"2", "", 2 * time.Hour, "75ms 502"},
		{"1", "two", time.Minute, "1.035s 501"}, {"1", "one", 0, "0s 0"},
	} {
		req := []hpack.HeaderField{{Name: "x-test", Value: tt.header}}
		delay, status := u.Befalls(req, tt.caller, faultEnd.Add(-tt.before))
		if got := fmt.Sprint(delay, " ", status); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestFaultsThatCannotBe(t *testing.T) {
	for want, f := range map[string]*api.Fault{
		"more than 10m0s": untilEnd(&api.Fault{DelayMs: 600_001}),
		"of a million":    untilEnd(&api.Fault{DelayShare: million + 1}),
		"a share":         untilEnd(&api.Fault{AbortShare: million + 1}),
		"status 399":      untilEnd(&api.Fault{Status: 399}),
		"status 600":      untilEnd(&api.Fault{Status: 600}),
		"does not know":   untilEnd(&api.Fault{Match: &api.Match{}}),
		"a match on the val": untilEnd(&api.Fault{Match: &api.Match{Match: &api.Match_Header{
			Header: &api.HeaderMatch{Name: "a"}}}}),
	} {
		if _, err := faulty(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", f, err, want)
		}
	}
}
