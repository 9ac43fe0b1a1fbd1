// Package drawing holds code to the state machines that its package's doc.go draws in text. A
// drawing is lines of a name, an arrow, and the names of what may follow. It has no goroutines.
package drawing

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Holds fails t unless the doc.go of the package under test draws, in the section of this heading,
// what next says: for each state a bit for each that may follow it. States that are not reached
// from the first are not drawn.
func Holds[S ~uint8 | ~uint16](t testing.TB, heading string, names []string, next []S) {
	t.Helper()
	drawn, reached := read(t, heading), reachable(next)
	n := 0
	for from, name := range names {
		if reached>>from&1 == 0 {
			continue
		}
		n++
		want := named(names, next[from])
		if got, ok := drawn[name]; !ok || !slices.Equal(got, want) {
			t.Errorf("%s: %s is drawn to become %v, and may become %v", heading, name, got, want)
		}
	}
	if len(drawn) != n {
		t.Errorf("%s: %d states are drawn, of %d", heading, len(drawn), n)
	}
}

// read returns the sorted names of what follows each state of a drawing.
func read(t testing.TB, heading string) map[string][]string {
	t.Helper()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(doc), "// # "+heading+"\n")
	if !found {
		t.Fatalf("doc.go has no section %q", heading)
	}
	section, _, _ = strings.Cut(section, "// # ")
	drawn := map[string][]string{}
	for line := range strings.Lines(section) {
		from, to, ok := strings.Cut(strings.TrimPrefix(line, "//\t"), "→")
		if ok {
			next := strings.Fields(strings.ReplaceAll(to, ",", " "))
			slices.Sort(next)
			drawn[strings.TrimSpace(from)] = next
		}
	}
	return drawn
}

func reachable[S ~uint8 | ~uint16](next []S) S {
	all := S(1)
	for range next {
		for from, to := range next {
			if all>>from&1 != 0 {
				all |= to
			}
		}
	}
	return all
}

func named[S ~uint8 | ~uint16](names []string, states S) (list []string) {
	for i, name := range names {
		if states>>i&1 != 0 {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
