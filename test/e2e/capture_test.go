//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a capture of the whole node's network holds: no word of what meshed pods say to each other,
// and every word, as the control, of what goes to or comes from an unmeshed one.
func TestCapture(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		marker := "marker-" + rand.Text()
		packets := capture(t, func() {
			a := call(t, e.from, "http://"+e.host("server")+"/"+marker, "-method", "POST",
				"-body", marker, "-header", "x-marker: "+marker)
			if a.Status != 200 || a.Echo.Body != marker {
				t.Fatalf("%+v", a)
			}
			got := app[tcpSaid](t, e.from, "deploy/client", "tcp", "-first", "-send", marker+`\n`,
				e.host("server")+":3306")
			if !strings.Contains(got.Got, marker) {
				t.Fatalf("%+v", got)
			}
		})
		if len(packets) < 1000 {
			t.Fatalf("the capture holds %d bytes: it saw nothing", len(packets))
		}
		if seen := bytes.Contains(packets, []byte(marker)); seen == e.meshed() {
			t.Errorf("marker in the capture: %v, meshed: %v", seen, e.meshed())
		}
	})
}

// capture gives the bytes of all packets to and from pods while f runs.
func capture(t *testing.T, f func()) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pcap")
	cmd := exec.Command("tcpdump", "-i", "any", "--immediate-mode", "-U", "-Z", "root", "-w", file,
		"net", "10.244.0.0/16", "and", "tcp")
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(errs)
	for line := ""; !strings.Contains(line, "listening on"); {
		if line, err = said.ReadString('\n'); err != nil {
			t.Fatalf("tcpdump did not start: %v %s", err, line)
		}
	}
	f()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	packets, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return packets
}
