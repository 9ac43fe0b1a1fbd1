package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// h2specCases is what --strict runs in 2.2.1. Fewer would mean that some did not run.
const h2specCases = 146

// overruled are h2spec's cases that test RFC 7540 where RFC 9113 has taken the rule away. They
// still pass: the proxy keeps to the older rule where nothing speaks against it.
const overruled = "RFC 9113 §5.3.2 deprecates priorities, and with them " +
	"RFC 7540 §5.3.1's self-dependency (2 cases); the proxy still resets"

// suite is h2spec's report in JUnit's form.
type suite struct {
	Suites []struct {
		ID    string `xml:"id,attr"`
		Cases []struct {
			Name    string    `xml:"classname,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// opaque: the proxy tells protocols apart by their first bytes.
const opaque = "a bad preface (3.5) is no HTTP/2, so it goes to the application as it came, " +
	"and that ends the connection"

func runH2spec(ctx context.Context, m *mesh, r *report) error {
	fmt.Printf("     note: %s\n     note: %s\n", overruled, opaque)
	for _, at := range []struct{ name, addr string }{
		{"outbound", m.outbound("h2")}, {"inbound", m.inbound("h2")},
	} {
		s, err := m.h2spec(ctx, at.addr)
		if err != nil {
			return err
		}
		r.h2spec(at.name, s)
	}
	return nil
}

func (m *mesh) h2spec(ctx context.Context, addr string) (s suite, err error) {
	out := filepath.Join(m.dir, "h2spec.xml")
	os.Remove(out) // of the run before
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "h2spec"), "--strict", "--timeout", "5",
		"--port", portOf(addr), "--junit-report", out)
	text, runErr := cmd.CombinedOutput()
	report, err := os.ReadFile(out)
	if err != nil {
		return s, fmt.Errorf("h2spec: %w: %v: %s", runErr, err, text)
	}
	return s, xml.Unmarshal(report, &s)
}

func (r *report) h2spec(server string, s suite) {
	passed, total := 0, 0
	for _, section := range s.Suites {
		for _, c := range section.Cases {
			total++
			if c.Failure == nil && c.Error == nil && c.Skipped == nil {
				passed++
				continue
			}
			r.check(false, server+" "+section.ID, "%s", c.Name)
		}
	}
	r.check(passed == total && total == h2specCases, server,
		"h2spec --strict: %d of %d pass, %d there are", passed, total, h2specCases)
}
