package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	started = "fuzz: elapsed: 0s, gathering baseline coverage: 0/6 completed\n" +
		"fuzz: elapsed: 0s, gathering baseline coverage: 6/6 completed, " +
		"now fuzzing with 1 workers\n" +
		"fuzz: elapsed: 3s, execs: 9739 (3238/sec), new interesting: 8 (total: 14)\n"
	ended = started +
		"fuzz: elapsed: 1m0s, execs: 99739 (3000/sec), new interesting: 9 (total: 15)\n"
	late = "--- FAIL: FuzzChunked (60.09s)\n    context deadline exceeded\nFAIL\n"
)

func TestJudgingOutcomes(t *testing.T) {
	exit := errors.New("exit status 1")
	failing := []string{"testdata/fuzz/FuzzChunked/1837c911"}
	for _, c := range []struct {
		name string
		o    outcome
		want string
	}{
		{"ran its time", outcome{said: ended + "PASS\n"}, ""},
		{"an input failed", outcome{said: started + "--- FAIL: FuzzChunked (3.10s)\n" +
			"    --- FAIL: FuzzChunked (0.00s)\n", err: exit, inputs: failing}, "1837c911"},
		{"a seed failed", outcome{said: started +
			"failure while testing seed corpus entry: FuzzChunked/seed#0\n" + late, err: exit},
			"exit status 1"},
		{"the coordinator saw its own deadline", outcome{said: ended + late, err: exit}, ""},
		{"the same without a corpus",
			outcome{said: "warning: starting with empty corpus\n" + ended + late, err: exit}, ""},
		{"the same, with an input that was still being minimized",
			outcome{said: ended + late, err: exit, inputs: failing}, "1837c911"},
		{"a deadline of the target's own", outcome{said: ended +
			"--- FAIL: FuzzChunked (9.1s)\n    read: context deadline exceeded\nFAIL\n", err: exit},
			"exit status 1"},
		{"a deadline, and something else",
			outcome{said: ended + "panic: here\n" + late, err: exit}, "exit status 1"},
		{"the corpus took all its time", outcome{
			said: "fuzz: elapsed: 6s, gathering baseline coverage: 13/361 completed\nPASS\n",
		}, ""},
		{"not even that", outcome{
			said: "fuzz: elapsed: 6s, gathering baseline coverage: 0/361 completed\nPASS\n",
		}, "ran nothing"},
		{"a deadline before anything ran", outcome{said: late, err: exit}, "ran nothing"},
		{"killed for running on",
			outcome{said: ended, err: errors.New("signal: killed"), overran: true}, "still ran"},
		{"no such target",
			outcome{said: "testing: warning: no fuzz tests to fuzz\nPASS\n"}, "ran nothing"},
		{"a binary that counts nothing",
			outcome{said: "fuzz: elapsed: 3s, execs: 9739 (3238/sec)\nPASS\n"}, "ran nothing"},
	} {
		_, err := c.o.judge()
		if c.want == "" && err != nil ||
			c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: judged %v, want %q", c.name, err, c.want)
		}
	}
}

func TestFiguresAreTheLast(t *testing.T) {
	f, _ := outcome{said: ended + "PASS\n"}.judge()
	if f != (figures{runs: 99739, found: 9, corpus: 15}) {
		t.Errorf("figures are %+v", f)
	}
}

func TestAPackageThatDoesNotCompileIsAnError(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module broken\n", "broken_test.go": "package broken\n\nfunc FuzzBroken(\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	err := build(t.Context(), dir, filepath.Join(dir, "broken.test"))
	if err == nil || !strings.Contains(err.Error(), "broken_test.go") {
		t.Errorf("building it says %v", err)
	}
}
