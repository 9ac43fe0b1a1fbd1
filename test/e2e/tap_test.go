//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz"
)

// A tap through the port-forward shows requests as both proxies saw them, only those that are asked
// for, and no header.
func TestATapShowsRequestsOnKubernetes(t *testing.T) {
	ready(t)
	var out, said bytes.Buffer
	tap := exec.Command("meshctl", "viz", "tap", "svc/server", "-n", byHook, "--status", "5xx",
		"--limit", "3", "--duration", "2m", "-o", "json")
	tap.Stdout, tap.Stderr = &out, &said
	if err := tap.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tap.Wait() }()
	url := "http://server." + byHook
	deadline := time.After(2*time.Minute + 30*time.Second)
	for done := false; !done; {
		call(t, byHook, url+"/fine")
		call(t, byHook, url+"/unless/server?token=secret")
		select {
		case err := <-ended:
			if done = true; err != nil {
				t.Fatalf("%v: %s", err, said.String())
			}
		case <-deadline:
			t.Fatal("the tap has not ended")
		case <-time.After(200 * time.Millisecond):
		}
	}
	joined := 0
	for line := range strings.Lines(out.String()) {
		var r viz.TapRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if r.Status < 500 && (r.Inbound == nil || r.Inbound.Status < 500) {
			t.Errorf("it shows %s", line)
		}
		if r.Inbound != nil && r.ClientWorkload == "deployment/client" &&
			r.ServerWorkload == "deployment/server" && r.Security == "mtls" {
			joined++
		}
	}
	if joined == 0 || strings.Contains(out.String(), "secret") {
		t.Errorf("%d have both halves:\n%s", joined, out.String())
	}
	if !strings.Contains(said.String(), "shown 3 of ") {
		t.Errorf("it says %q", said.String())
	}
}
