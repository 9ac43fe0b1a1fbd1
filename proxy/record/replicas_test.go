package record

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// vizName is viz's name and what runs with its replicas, on a clock of the test's.
type vizName struct {
	t       *testing.T
	cancel  context.CancelFunc
	settled chan struct{}
	done    chan struct{}

	mu      sync.Mutex // guards what follows
	named   []string   // nil: nobody can be asked
	looks   int
	changed func()
	begun   map[string]int
	now     map[string]bool
	hang    map[string]bool          // until the context ends
	lasting map[string]time.Duration // how long others run; 0: for ever
}

func startReplicas(t *testing.T, named ...string) *vizName {
	return &vizName{t: t, settled: make(chan struct{}), done: make(chan struct{}), named: named,
		begun: map[string]int{}, now: map[string]bool{}, hang: map[string]bool{},
		lasting: map[string]time.Duration{}}
}

func (v *vizName) run() {
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	r := &Replicas{Addr: "viz.test:8084", LookUp: v.lookUp, Log: slog.New(slog.DiscardHandler),
		Failures: &metric.Counter{}, Settled: v.settled}
	go func() {
		defer close(v.done)
		r.Run(ctx, v.serve)
	}()
	v.t.Cleanup(func() { cancel(); <-v.done })
}

func (v *vizName) lookUp(_ context.Context, host string) ([]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.looks++
	if host != "viz.test" || v.named == nil {
		return nil, errors.New("no such host")
	}
	return v.named, nil
}

func (v *vizName) serve(ctx context.Context, addr string, changed func()) (bool, error) {
	v.mu.Lock()
	v.changed = changed
	v.begun[addr]++
	v.now[addr] = true
	hang, lasting := v.hang[addr], v.lasting[addr]
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.now, addr)
	}()
	var late <-chan time.Time
	if lasting > 0 {
		late = time.After(lasting)
	}
	settled := v.settled
	if hang {
		settled = nil
	}
	select {
	case <-late:
		return true, errors.New("it ended")
	case <-settled:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (v *vizName) name(ips ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.named = ips
}

func (v *vizName) want(running ...string) {
	v.t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []string
	for addr := range v.now {
		all = append(all, addr)
	}
	slices.Sort(all)
	if !slices.Equal(all, running) {
		v.t.Errorf("%v are served, want %v", all, running)
	}
}

// A replica that hangs delays neither what the others get nor the end of it.
func TestAHangingReplicaDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startReplicas(t, "10.0.0.1", "10.0.0.2")
		v.hang["10.0.0.1:8084"], v.lasting["10.0.0.2:8084"] = true, 10*time.Second
		v.run()
		time.Sleep(time.Minute)
		v.mu.Lock()
		if n := v.begun["10.0.0.2:8084"]; n < 5 || v.begun["10.0.0.1:8084"] != 1 {
			t.Errorf("in a minute they began %v times", v.begun)
		}
		v.lasting["10.0.0.2:8084"] = 0
		v.mu.Unlock()
		time.Sleep(15 * time.Second)
		close(v.settled)
		synctest.Wait()
		v.want("10.0.0.1:8084") // the other one has told its last
		select {
		case <-v.done:
			t.Error("it ended while a replica was being told")
		default:
		}
		v.cancel()
		<-v.done
	})
}

// Who comes and who goes is known soon after a stream has ended, and later otherwise; and one that
// has gone is not tried for ever.
func TestReplicasComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startReplicas(t, "10.0.0.1")
		v.run()
		time.Sleep(time.Hour)
		v.want("10.0.0.1:8084")
		if v.looks > 40 {
			t.Errorf("in a quiet hour the name was looked up %d times", v.looks)
		}
		v.name("10.0.0.1", "10.0.0.2")
		v.changed()
		time.Sleep(2 * lookUpAfter)
		v.want("10.0.0.1:8084", "10.0.0.2:8084")
		v.name("10.0.0.1", "10.0.0.2", "10.0.0.3")
		time.Sleep(lookUpAfterMax * 3 / 2) // nobody has said so
		v.want("10.0.0.1:8084", "10.0.0.2:8084", "10.0.0.3:8084")
		v.name("10.0.0.2") // the stream to the first goes on as long as the replica has it
		time.Sleep(lookUpAfterMax * 3 / 2)
		v.want("10.0.0.1:8084", "10.0.0.2:8084", "10.0.0.3:8084")
	})
}

// A replica that was replaced is found within seconds of the end of its stream.
func TestAReplacedReplicaIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startReplicas(t, "10.0.0.1", "10.0.0.2")
		v.lasting["10.0.0.1:8084"] = time.Hour
		v.run()
		time.Sleep(time.Hour - time.Second)
		v.name("10.0.0.2")
		time.Sleep(10 * time.Second)
		v.want("10.0.0.2:8084")
		if n := v.begun["10.0.0.1:8084"]; n != 1 {
			t.Errorf("the one that has gone was tried %d times", n)
		}
		v.name("10.0.0.2", "10.0.0.3")
		time.Sleep(30 * time.Second)
		v.want("10.0.0.2:8084", "10.0.0.3:8084")
	})
}

// There is a bound, a pod with two addresses is one replica, and without DNS all goes on.
func TestWhichAddressesAreReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := startReplicas(t, "fd00::1", "10.0.0.2", "fd00::2", "10.0.0.1")
		v.run()
		time.Sleep(time.Second)
		v.want("10.0.0.1:8084", "10.0.0.2:8084")
		v.name("10.0.0.5", "10.0.0.4", "10.0.0.3", "10.0.0.2", "10.0.0.1")
		time.Sleep(lookUpAfterMax)
		v.want("10.0.0.1:8084", "10.0.0.2:8084", "10.0.0.3:8084")
		v.name()
		v.mu.Lock()
		v.lasting["10.0.0.1:8084"] = time.Second
		v.mu.Unlock()
		time.Sleep(time.Hour)
		v.want("10.0.0.1:8084", "10.0.0.2:8084", "10.0.0.3:8084")
	})
}
