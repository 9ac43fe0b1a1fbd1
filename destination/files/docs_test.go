package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What the documentation shows is what can be written: every example of a kind that is read here.
func TestExamplesOfTheDocsAreRead(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]int{}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, example := range examples(string(text)) {
			if _, err := Parse(filepath.Base(page), []byte(example)); err != nil {
				t.Errorf("%v, in\n%s", err, example)
			}
			read[filepath.Base(page)]++
		}
	}
	for page, least := range map[string]int{
		"README.md": 1, "routes.md": 3, "backend-traffic-policy.md": 5,
		"rate-limits.md": 1, "accesslog.md": 1, "health.md": 1, "overload.md": 1,
		"tracing.md": 1, "slo.md": 1,
	} {
		if read[page] < least {
			t.Errorf("%s has %d examples, want %d or more", page, read[page], least)
		}
	}
}

// examples are the indented blocks of a page that begin with an apiVersion, without their indent.
func examples(page string) (out []string) {
	const indent = "    "
	var block strings.Builder
	for line := range strings.Lines(page + "\n") {
		rest, in := strings.CutPrefix(line, indent)
		if in {
			block.WriteString(rest)
			continue
		}
		if strings.HasPrefix(block.String(), "apiVersion: ") {
			out = append(out, block.String())
		}
		block.Reset()
	}
	return out
}
