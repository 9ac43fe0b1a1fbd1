package slo

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kept is a stream whose book is in a file.
type keptStream struct {
	*stream
	t    *testing.T
	path string
	keep *Keep
}

func newKept(t *testing.T, o Objective) *keptStream {
	s := &keptStream{stream: &stream{book: NewBook(), now: noon}, t: t,
		path: filepath.Join(t.TempDir(), "objectives")}
	s.open(0)
	s.ledger = s.book.Set(s.now, []Objective{o})[0]
	return s
}

func (s *keptStream) open(wantLost int) {
	s.t.Helper()
	s.book = NewBook()
	keep, lost, err := OpenKeep(s.path, s.book, s.now)
	if err != nil || lost != wantLost {
		s.t.Fatalf("%d lines are lost, want %d: %v", lost, wantLost, err)
	}
	s.keep = keep
}

// pass is stream.pass, and what is told is written.
func (s *keptStream) pass(length time.Duration, each func() Count) {
	s.t.Helper()
	for range length / time.Minute {
		s.stream.pass(time.Minute, each)
		if err := s.keep.Append(s.keep.Lines(s.book, false)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// restart ends viz, in order or not, and begins another one after some time.
func (s *keptStream) restart(inOrder bool, after time.Duration, wantLost int) {
	s.t.Helper()
	o := s.ledger.objective
	var err error
	if inOrder {
		err = s.keep.Close(s.book)
	} else {
		err = s.keep.file.Close()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.now = s.now.Add(after)
	s.open(wantLost)
	if added := s.book.Set(s.now, []Objective{o}); len(added) != 0 {
		s.t.Fatal("it begins anew")
	}
	s.ledger = s.book.Ledgers()[0]
}

func TestARestartLosesNothingThatIsKept(t *testing.T) {
	for _, days := range []int{1, 5} {
		s := newKept(t, promise(0.99, 30*day))
		s.pass(time.Duration(days)*day, always(100, 2))
		s.stream.pass(20*time.Second, always(100, 1)) // of a minute that is not over
		before := s.standing()
		s.restart(true, 0, 0)
		again := s.standing()
		if again.Count != before.Count || again.Left != before.Left ||
			!again.Since.Equal(before.Since) {
			t.Errorf("before: %+v\nafter: %+v", before, again)
		}
		for i, b := range before.Burns { // the last hour is kept by the minute, as all is
			a, most := again.Burns[i], uint64(0)
			if b.Window <= time.Hour {
				most = 1200
			}
			if a.Known != b.Known || a.Requests > b.Requests || b.Requests-a.Requests > most {
				t.Errorf("before: %+v\nafter: %+v", b, a)
			}
		}
		s.pass(2*time.Minute, always(100, 0))
		s.restart(true, 10*time.Minute, 0)
		after := s.standing()
		if want := before.Requests + 2400; after.Requests != want || after.Bad != before.Bad {
			t.Errorf("%d of %d, want %d of %d", after.Bad, after.Requests, before.Bad, want)
		}
		if after.Left < before.Left-1e-3 || !after.Since.Equal(before.Since) {
			t.Errorf("%+v became %+v", before, after)
		}
	}
}

// A machine that fails takes the last minute with it, and half a line may be left.
func TestATornTailIsTolerated(t *testing.T) {
	s := newKept(t, promise(0.99, 30*day))
	s.pass(time.Hour, always(100, 1))
	file, err := os.OpenFile(s.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.WriteString("0badc0de m 1 3534")
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	before := s.standing()
	s.restart(false, 0, 1)
	if lost := before.Requests - s.standing().Requests; lost > 1200 {
		t.Errorf("%d requests are lost", lost)
	}
	s.restart(true, 0, 0) // it was written anew
}

func TestAChangedLineIsNotBelieved(t *testing.T) {
	s := newKept(t, promise(0.99, 30*day))
	s.pass(time.Hour, always(100, 0))
	text, err := os.ReadFile(s.path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(text, []byte(" 1200 0\n"))
	copy(text[at:], " 1200 9\n")
	if err := os.WriteFile(s.path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	s.restart(false, 0, 1)
	if got := s.standing(); got.Bad != 0 {
		t.Errorf("%d went wrong", got.Bad)
	}
}

// Clocks are set back while machines are off, too.
func TestTheClockWasSetBackMeanwhile(t *testing.T) {
	s := newKept(t, promise(0.99, 30*day))
	s.pass(2*time.Hour, always(100, 1))
	before := s.standing()
	s.restart(true, -time.Hour, 0)
	after := s.standing()
	if after.Requests != before.Requests || after.Since.After(s.now) {
		t.Errorf("%+v became %+v", before, after)
	}
	s.pass(time.Hour, always(100, 1))
	if got := s.standing(); got.Requests != before.Requests+72000 {
		t.Errorf("%d requests", got.Requests)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	s := newKept(t, promise(0.99, 90*day))
	s.pass(3*day, always(100, 1))
	s.keep.size = s.keep.limit + 1 // as after months
	s.pass(time.Minute, always(100, 1))
	s.pass(time.Minute, always(100, 1))
	info, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() != s.keep.size || info.Size() > 200<<10 {
		t.Errorf("the file has %d bytes, and should have %d", info.Size(), s.keep.size)
	}
	before := s.standing()
	s.restart(true, 0, 0)
	if after := s.standing(); after.Count != before.Count {
		t.Errorf("%+v became %+v", before.Count, after.Count)
	}
}

// FuzzKept: whatever is in the file, what a book makes of it can be asked, written and read again.
func FuzzKept(f *testing.F) {
	var l lines
	o := promise(0.99, 30*day)
	l.objective(1, &o)
	l.ran(span{slotOf(noon) - 100, slotOf(noon)}, 0)
	l.count(lineMinute, 1, slotOf(noon)-50, Count{100, 1})
	l.count(lineHour, 1, slotOf(noon)-100*perHour, Count{100, 1})
	f.Add(string(l.text))
	f.Add("m 1 2 3 4\nr 5 4\nx")
	f.Fuzz(func(t *testing.T, text string) {
		var signed lines // what was changed counts all the same
		for line := range strings.Lines(text) {
			_, line, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			signed.add(line)
		}
		for _, data := range [][]byte{[]byte(text), signed.text} {
			b := NewBook()
			b.restore(data, noon)
			for _, l := range b.Ledgers() {
				s := b.Standing(noon, l)
				if s.Exhausted != nil && *s.Exhausted < 0 || s.Bad > s.Requests || s.Left > 1 {
					t.Fatalf("%+v", s)
				}
			}
			k := &Keep{}
			text := k.all(b, b.clock.now/perMinute)
			if lost := NewBook().restore(text, noon); lost > 0 {
				t.Fatalf("of its own it loses %d:\n%s", lost, text)
			}
		}
	})
}
