package trace

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

const (
	traceText  = "0af7651916cd43dd8448eb211c80319c"
	parentText = "b7ad6b7169203331"
	parent01   = "00-" + traceText + "-" + parentText + "-01"
)

var ours = SpanID{1, 2, 3, 4, 5, 6, 7, 8}

const oursText = "0102030405060708"

// head is a request's, of "name: value" lines.
func head(lines ...string) (out []hpack.HeaderField) {
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		out = append(out, hpack.HeaderField{Name: name, Value: value})
	}
	return out
}

func lines(head []hpack.HeaderField) (out []string) {
	for _, f := range head {
		out = append(out, f.Name+": "+f.Value)
	}
	return out
}

// What comes in, what is read of it, and what goes on once it is decided to be sampled and a span
// of ours sends it.
func TestContextsAreReadAndWritten(t *testing.T) {
	const none = "00000000000000000000000000000000"
	b3 := traceText + "-" + parentText
	for _, tt := range []struct {
		name  string
		head  []string
		want  string   // trace, parent, choice
		after []string // nil: the trace begins here, in W3C's format alone
	}{
		{"nothing", nil, none + " 0000000000000000 0", nil},
		{"W3C", []string{"traceparent: " + parent01}, traceText + " " + parentText + " 1",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-01"}},
		{"not sampled", []string{"traceparent: 00-" + traceText + "-" + parentText + "-02"},
			traceText + " " + parentText + " 2",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-03"}},
		{"flags of tomorrow", []string{"traceparent: 00-" + traceText + "-" + parentText + "-fd"},
			traceText + " " + parentText + " 1",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-01"}},
		{"a later version", []string{"traceparent: 01-" + parent01[3:] + "-more"},
			traceText + " " + parentText + " 1",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-01"}},
		{"with a state in two fields", []string{"traceparent: " + parent01, "tracestate: a=1, b=2",
			"x: y", "tracestate: c=3"}, traceText + " " + parentText + " 1",
			[]string{"x: y", "traceparent: 00-" + traceText + "-" + oursText + "-01",
				"tracestate: a=1,b=2,c=3"}},
		{"with a state that is not valid", []string{"traceparent: " + parent01,
			"tracestate: a=1,B=2"}, traceText + " " + parentText + " 1",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-01"}},
		{"B3", []string{"b3: " + b3 + "-1"}, traceText + " " + parentText + " 1",
			[]string{"b3: " + traceText + "-" + oursText + "-1-" + parentText}},
		{"B3 with a parent", []string{"b3: " + b3 + "-0-0000000000000001"},
			traceText + " " + parentText + " 2",
			[]string{"b3: " + traceText + "-" + oursText + "-1-" + parentText}},
		{"B3, undecided", []string{"b3: " + b3}, traceText + " " + parentText + " 0",
			[]string{"b3: " + traceText + "-" + oursText + "-1-" + parentText}},
		{"B3, debug", []string{"b3: " + b3 + "-d"}, traceText + " " + parentText + " 1",
			[]string{"b3: " + traceText + "-" + oursText + "-d-" + parentText}},
		{"B3 of 64 bits", []string{"b3: 8448eb211c80319c-" + parentText + "-1"},
			"00000000000000008448eb211c80319c " + parentText + " 1",
			[]string{"b3: 8448eb211c80319c-" + oursText + "-1-" + parentText}},
		{"B3's multiple", []string{"x-b3-traceid: " + traceText, "x-b3-spanid: " + parentText,
			"x-b3-parentspanid: 0000000000000001", "x-b3-sampled: true"},
			traceText + " " + parentText + " 1",
			[]string{"x-b3-traceid: " + traceText, "x-b3-spanid: " + oursText,
				"x-b3-parentspanid: " + parentText, "x-b3-sampled: 1"}},
		{"B3's multiple, debug", []string{"x-b3-traceid: " + traceText,
			"x-b3-spanid: " + parentText, "x-b3-flags: 1"}, traceText + " " + parentText + " 1",
			[]string{"x-b3-traceid: " + traceText, "x-b3-spanid: " + oursText,
				"x-b3-parentspanid: " + parentText, "x-b3-flags: 1"}},
		{"one beats multiple", []string{"x-b3-traceid: " + strings.Repeat("1", 32),
			"x-b3-spanid: " + strings.Repeat("2", 16), "b3: " + b3 + "-1"},
			traceText + " " + parentText + " 1",
			[]string{"b3: " + traceText + "-" + oursText + "-1-" + parentText,
				"x-b3-traceid: " + traceText, "x-b3-spanid: " + oursText,
				"x-b3-parentspanid: " + parentText, "x-b3-sampled: 1"}},
		{"W3C beats B3", []string{"b3: " + strings.Repeat("1", 32) + "-" + parentText + "-0",
			"traceparent: " + parent01}, traceText + " " + parentText + " 1",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-01",
				"b3: " + traceText + "-" + oursText + "-1-" + parentText}},
		{"B3 beats a W3C that is not valid", []string{"traceparent: ff-" + parent01[3:],
			"tracestate: a=1", "b3: " + b3 + "-1"}, traceText + " " + parentText + " 1",
			[]string{"traceparent: 00-" + traceText + "-" + oursText + "-01",
				"b3: " + traceText + "-" + oursText + "-1-" + parentText}},
		{"B3 wants none", []string{"b3: 0"}, none + " 0000000000000000 2", nil},
		{"B3 wants one", []string{"x-b3-sampled: 1"}, none + " 0000000000000000 1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := head(tt.head...)
			c := Extract(h)
			if got := fmt.Sprint(c.Trace, " ", c.Parent, " ", c.Choice); got != tt.want {
				t.Fatalf("read %s, want %s", got, tt.want)
			}
			if tt.after == nil {
				return
			}
			c.Choice = Yes
			if got := lines(c.Write(h, ours)); !slices.Equal(got, tt.after) {
				t.Errorf("went on with\n%q, want\n%q", got, tt.after)
			}
		})
	}
}

func TestWhatIsNotValidIsNoContext(t *testing.T) {
	for _, h := range [][]string{
		{"traceparent: " + parent01, "traceparent: " + parent01},
		{"traceparent: ", "traceparent: " + parent01},
		{"traceparent: " + strings.ToUpper(parent01)},
		{"traceparent: " + parent01 + "-x"}, // version 0 has no more
		{"traceparent: 01-" + parent01[3:] + "x"},
		{"traceparent: ff-" + parent01[3:]},
		{"traceparent: 00-" + strings.Repeat("0", 32) + "-" + parentText + "-01"},
		{"traceparent: 00-" + traceText + "-" + strings.Repeat("0", 16) + "-01"},
		{"traceparent: " + parent01[:54]}, {"traceparent: " + parent01 + ", " + parent01},
		{"traceparent: 00_" + parent01[3:]}, {"traceparent: 0x" + parent01[2:]},
		{"b3: x"}, {"b3: " + traceText}, {"b3: " + traceText + "-" + parentText + "-"},
		{"b3: " + traceText + "-" + parentText + "-2"},
		{"b3: " + traceText + "-" + parentText + "-1-"},
		{"b3: " + traceText + "-" + parentText + "-1-" + parentText + "-1"},
		{"b3: " + traceText[1:] + "-" + parentText}, {"b3: 1", "b3: 1"},
		{"x-b3-traceid: " + traceText}, {"x-b3-spanid: " + parentText},
		{"x-b3-traceid: " + traceText, "x-b3-spanid: " + parentText, "x-b3-sampled: yes"},
		{"x-b3-traceid: " + traceText, "x-b3-spanid: " + parentText, "x-b3-flags: 2"},
		{"x-b3-sampled: 1", "x-b3-sampled: 1"}, {"x-b3-flags: 0"},
	} {
		c := Extract(head(h...))
		if (c.Trace != ID{}) || (c.Parent != SpanID{}) || c.Choice != Open {
			t.Errorf("%q is read as %+v", h, c)
		}
		// a trace that begins here replaces it
		c.begin(1, 2, "ot=th:8")
		c.Choice = Yes
		after := c.Write(head(append(h, "tracestate: old=1")...), ours)
		again := Extract(after)
		if again.Trace != c.Trace || again.Parent != ours || again.Choice != Yes {
			t.Errorf("%q goes on with %q", h, lines(after))
		}
		if state := again.State(after); state != "ot=th:8" {
			t.Errorf("%q goes on with the state %q", h, state)
		}
	}
}

func TestAStateIsBounded(t *testing.T) {
	member := func(i, n int) string { return fmt.Sprintf("k%d=%s", i, strings.Repeat("v", n)) }
	var many, long, short []string
	for i := range maxMembers {
		many = append(many, member(i, 1))
		short = append(short, member(i, 100))
		long = append(long, member(i, 60), member(maxMembers+i, 200))
	}
	parent := "traceparent: " + parent01
	state := func(members []string) string {
		h := head(parent, "tracestate: "+strings.Join(members, ","))
		c := Extract(h)
		return c.State(h)
	}
	if got := state(many); got != strings.Join(many, ",") {
		t.Errorf("%d members become %q", maxMembers, got)
	}
	if got := state(append(many, "more=1")); got != "" {
		t.Errorf("more members than there may be become %q", got)
	}
	got := state(short)
	if len(got) > maxState || len(got) < maxState-longMember ||
		!strings.HasPrefix(strings.Join(short, ","), got) {
		t.Errorf("%d bytes of short members are left: %q", len(got), got)
	}
	got = state(long[:32]) // 16 of each, of which the long ones are too much
	if len(got) > maxState || strings.Count(got, strings.Repeat("v", 60)+",") < 15 {
		t.Errorf("%d bytes of short and long members are left: %q", len(got), got)
	}
	for i := range 16 {
		if !strings.Contains(","+got, ","+member(i, 60)) {
			t.Errorf("a short member is left out before a long one: %q", got)
		}
	}
	whole := []string{"a=" + strings.Repeat("v", 251), "b=" + strings.Repeat("v", 256)}
	if n := len(state(whole)); n != 512 { // which must be carried
		t.Errorf("%d bytes are left of 512", n)
	}
}

// A copy's trace is another one, told in the same formats, and W3C's.
func TestACopyIsATraceOfItsOwn(t *testing.T) {
	h := head("b3: " + traceText + "-" + parentText + "-1")
	c := Extract(h)
	apart := c.Apart()
	again := Extract(apart.Write(h, ours))
	if apart.Trace == c.Trace || again.Trace != apart.Trace || again.came != w3c|single {
		t.Errorf("%+v goes on apart as %+v", c, again)
	}
}

// Whatever a head says: it is read without an error; a span of ours that sends it on is what the
// next one reads, whichever format it knows; and nothing else in the head changes.
func FuzzContext(f *testing.F) {
	b3 := traceText + "-" + parentText + "-1"
	f.Add(parent01, "a=1,b=2", b3, traceText, parentText, "1", "0")
	f.Add("01-"+parent01[3:]+"-x", "a=1,,b", "d", traceText[16:], parentText, "true", "1")
	f.Add("", "=", "0", "", "", "", "")
	f.Fuzz(func(t *testing.T, parent, state, b3, id, span, sampled, flags string) {
		given := map[string]string{fieldParent: parent, fieldState: state, fieldB3: b3,
			fieldTraceID: id, fieldSpanID: span, fieldSampled: sampled, fieldFlags: flags}
		h := head("accept: x", "x-b3: y")
		for name, value := range given {
			if value != "" {
				h = append(h, hpack.HeaderField{Name: name, Value: value})
			}
		}
		c := Extract(h)
		s := NewSampler(Sampling{Ratio: Million, PerSecond: 1})
		if s.Decide(&c, time.Unix(0, 0)) != Export {
			return // the caller's wish
		}
		after := c.Write(slices.Clone(h), ours)
		if after[0] != h[0] || after[1] != h[1] {
			t.Errorf("other fields change: %q", lines(after))
		}
		for _, format := range []formats{w3c, single, multi} {
			var only []hpack.HeaderField
			for _, f := range after {
				if formatOf(f.Name) == format {
					only = append(only, f)
				}
			}
			want := c.came&format != 0 || c.began && format == w3c
			if (len(only) > 0) != want {
				t.Fatalf("%q, of which %b came, goes on as %q", lines(h), c.came, lines(after))
			}
			if !want {
				continue
			}
			again := Extract(only)
			if again.Trace != c.Trace || again.Parent != ours || again.Choice != Yes {
				t.Errorf("%q goes on as %q, which is read as %+v", lines(h), lines(only), again)
			}
			if state := again.State(after); len(state) > maxState {
				t.Errorf("a state of %d bytes", len(state))
			}
		}
	})
}

// formatOf is the format that a field is of; 0: of none.
func formatOf(name string) formats {
	switch name {
	case fieldParent:
		return w3c
	case fieldB3:
		return single
	case fieldTraceID, fieldSpanID, fieldAbove, fieldSampled, fieldFlags:
		return multi
	}
	return 0
}

func TestReadingAContextAllocatesNothing(t *testing.T) {
	h := head("accept: x", "traceparent: "+parent01, "tracestate: a=1", "b3: "+traceText+"-"+
		parentText+"-1", "x-b3-traceid: "+traceText, "x-b3-spanid: "+parentText)
	s := NewSampler(Sampling{PerSecond: 1})
	none := head("accept: x")
	now := time.Unix(0, 0)
	if n := testing.AllocsPerRun(100, func() {
		c := Extract(h)
		c.Choice = No
		s.Decide(&c, now)
		c = Extract(none)
		s.Decide(&c, now)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
