package main

import (
	"os"
	"testing"
	"time"
)

// TestMain lets the test's own program be the servers, as scale's is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := serveChild(); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Every row but that of the binary can be measured, with few proxies.
func TestRows(t *testing.T) {
	r, err := open(options{proxies: 20, services: 40, changes: 2, restarts: 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts() {
		if p.name == "inject" {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			began := time.Now()
			if err := p.measure(r, t.Context()); err != nil {
				t.Fatal(err)
			}
			r.unmeasured(p.rows, nil)
			for _, res := range r.results {
				if res.err != nil {
					t.Errorf("%s: %v", res.name, res.err)
				}
			}
			t.Log(time.Since(began))
		})
	}
}
