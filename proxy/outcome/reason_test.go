package outcome

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// The table of the docs has the list's words, all of them, in its order.
func TestTheDocsHaveEveryReason(t *testing.T) {
	text, err := os.ReadFile("../../docs/accesslog.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [a-z0-9', ]+ \\| ")
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1])
	}
	if want := reasonNames[1:]; !slices.Equal(got, want) {
		t.Errorf("the docs have\n%q, want\n%q", got, want)
	}
}

func TestReasonsAreWords(t *testing.T) {
	seen := map[string]bool{}
	for r := Plain; r < reasons; r++ {
		word := r.String()
		if seen[word] || r != Plain && !regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`).MatchString(word) {
			t.Errorf("reason %d is called %q", r, word)
		}
		seen[word] = true
		if why, words := Said(r.Says("a: b")); r != Plain && (why != r || words != "a: b") {
			t.Errorf("%s comes back as %s, %q", word, why, words)
		}
	}
	for _, foreign := range []string{"", ": x", "a proxy of before: x", "no_route", "other: y"} {
		if why, words := Said(foreign); why != Plain || words != foreign {
			t.Errorf("%q is taken for %s, %q", foreign, why, words)
		}
	}
}

func TestUnreached(t *testing.T) {
	cause := errors.New("cause")
	for _, tt := range []struct {
		err  error
		want Reason
	}{
		{cause, ConnectFailed},
		{fmt.Errorf("dial: %w", context.DeadlineExceeded), ConnectTimeout},
		{fmt.Errorf("dial: %w", &Failure{TLSFailed, context.DeadlineExceeded}), TLSFailed},
	} {
		if got := Unreached(tt.err, ConnectFailed); got != tt.want {
			t.Errorf("%v is %s, want %s", tt.err, got, tt.want)
		}
	}
	if !errors.Is(&Failure{TLSFailed, cause}, cause) {
		t.Error("a failure hides its cause")
	}
}

// A reason has no series before its first: most never come.
func TestCounters(t *testing.T) {
	r := metric.NewRegistry()
	c := NewCounters(r)
	c.Count(Plain)
	c.Count(reasons)
	c.Count(NoRoute)
	c.Count(NoRoute)
	var got []string
	r.EachCounter(func(e metric.Event, why string, n uint64) {
		got = append(got, fmt.Sprintf("%s %s %d", e, why, n))
	})
	if want := []string{"outcome_reasons no_route 2"}; !slices.Equal(got, want) {
		t.Errorf("counted %q, want %q", got, want)
	}
	if n := testing.AllocsPerRun(100, func() { c.Count(NoRoute) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
