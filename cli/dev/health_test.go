package dev

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
)

const checkedServices = `
services:
  front:
    command: [SELF, $PORT]
    env: {DEV_TEST_ROLE: serve}
    calls: [back]
  back:
    command: [SELF, $PORT]
    env: {DEV_TEST_ROLE: serve, SAYS: hello}
    replicas: 2
    check: CHECK
`

// An instance whose check fails is left alone by its callers, and called again once it succeeds: as
// its proxy finds, or a command. Destination may begin anew meanwhile.
func TestUpChecksHealth(t *testing.T) {
	for name, c := range map[string]struct {
		check string
		set   func(r *running, i *Instance, sick bool)
	}{
		"http": {"{http: /live, interval: 100ms}", func(_ *running, i *Instance, sick bool) {
			getText(t, fmt.Sprintf("http://%s/sick?is=%v", i.App, sick))
		}},
		"exec": {`{exec: [sh, -c, "! test -e $0", sick-$PORT], interval: 100ms}`,
			func(r *running, i *Instance, sick bool) {
				port, _ := portOf(i.App)
				file := filepath.Join(filepath.Dir(r.dir), fmt.Sprint("sick-", port))
				os.Remove(file)
				if sick {
					os.WriteFile(file, nil, 0o600)
				}
			}},
	} {
		t.Run(name, func(t *testing.T) {
			r := startUp(t, strings.Replace(checkedServices, "CHECK", c.check, 1))
			r.says(t, "The mesh is up")
			ports, err := ReadPorts(r.dir)
			if err != nil {
				t.Fatal(err)
			}
			front, one, two := &ports.Instances[0], &ports.Instances[1], &ports.Instances[2]
			reachable(t, front.App)
			called := func() map[string]bool {
				out := map[string]bool{}
				for range 20 {
					out[getText(t, "http://"+front.App)] = true
				}
				return out
			}
			both := func() bool { return len(called()) == 2 }
			other := getText(t, "http://"+two.App)
			alone := func() bool { got := called(); return len(got) == 1 && got[other] }
			await.True(t, "both are called", both)
			c.set(r, one, true)
			await.True(t, "the one that is not well is not called", alone)
			if err := Restart(t.Context(), r.dir, "destination"); err != nil {
				t.Fatal(err)
			}
			await.True(t, "another destination hears it", alone)
			c.set(r, one, false)
			await.True(t, "it is called again", both)
			r.cancel()
			if err := r.gone(t); err != nil {
				t.Errorf("Up: %v", err)
			}
		})
	}
}
