//go:build pairings

package proxy_test

import (
	"testing"
	"time"
)

const (
	// quietStreams is how many streams of one gRPC channel an application is to have open at once.
	quietStreams = 10_000
	// openedAtOnce is how many begin at the same time: the callee's MaxQueue has room for them
	// before it has a connection, and a busy machine opens them within Limits.DiscoveryWait.
	openedAtOnce = 1250
)

// Ten thousand streams of one channel go through two proxies, stay open while nothing is said on
// them, and are all carried after that.
func TestTenThousandStreamsOfOneChannel(t *testing.T) {
	addr, _ := serveGRPC(t, &scripted{stream: repeatAll})
	out, _, pids := processesBefore(t, addr)
	c, dials := channel(t, out)
	converse(t, c, 1)
	idle := []int64{resident(t, pids[0]), resident(t, pids[1])}
	began := time.Now()
	var all []conversation
	for len(all) < quietStreams {
		all = append(all, converse(t, c, openedAtOnce)...)
	}
	t.Logf("%d streams were opened in %v", quietStreams, time.Since(began).Round(time.Millisecond))
	time.Sleep(3 * time.Second) // they are quiet
	within128(t, "streams", pids)
	for i, name := range []string{"caller's", "callee's"} {
		t.Logf("the %s proxy: %d bytes each", name, (resident(t, pids[i])-idle[i])/quietStreams)
	}
	atOnce(t, quietStreams, func(i int) error { return answered(all[i]) })
	if n := dials.Load(); n != 1 {
		t.Errorf("the channel had %d connections, want one", n)
	}
}
