package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/plane"
)

// Limits of the proxy's footprint, in MB of 10^6 bytes.
const (
	maxBinary   = 11
	maxIdle     = 10
	maxIdleWide = 11 // with manyProcs, each of which has caches and stacks of its own
	manyProcs   = 64
	maxWithMany = 12 // with manyKnown endpoints subscribed
	manyKnown   = 1000
)

// footprint prints each figure beside its limit and reports whether all are within.
func footprint(proxy string) (ok bool, err error) {
	info, err := os.Stat(proxy)
	if err != nil {
		return false, fmt.Errorf("%w (make build)", err)
	}
	ok = within("binary", float64(info.Size())/1e6, maxBinary)
	for _, one := range []struct {
		procs int
		limit float64
	}{{1, maxIdle}, {manyProcs, maxIdleWide}} {
		mb, err := usual(proxy, one.procs, 0)
		if err != nil {
			return false, err
		}
		ok = within(fmt.Sprintf("idle, GOMAXPROCS=%d", one.procs), mb, one.limit) && ok
	}
	mb, err := usual(proxy, 1, manyKnown)
	if err != nil {
		return false, err
	}
	return within(fmt.Sprintf("%d endpoints subscribed", manyKnown), mb, maxWithMany) && ok, nil
}

func within(what string, mb, limit float64) bool {
	verdict := "ok"
	if mb > limit {
		verdict = "OVER"
	}
	fmt.Printf("%-28s %6.2f MB  limit %3.0f MB  %s\n", what, mb, limit, verdict)
	return mb <= limit
}

// starts of a proxy are measured: how many threads the runtime makes while it starts is chance.
const starts = 3

// usual is the median of what some starts come to.
func usual(proxy string, procs, endpoints int) (float64, error) {
	var all []float64
	for range starts {
		mb, err := idle(proxy, procs, endpoints)
		if err != nil {
			return 0, err
		}
		all = append(all, mb)
	}
	return median(all), nil
}

// idle is the resident memory of a proxy that is ready and does nothing.
func idle(proxy string, procs, endpoints int) (mb float64, err error) {
	dir, err := os.MkdirTemp("", "footprint")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	m, err := startMesh(proxy, dir)
	if err != nil {
		return 0, err
	}
	defer m.end()
	upstream, known := "app", []plane.Service(nil)
	if endpoints > 0 {
		upstream, known = "many", []plane.Service{manyEndpoints(endpoints)}
	}
	mesh, out := loopback.Free(), loopback.Free()
	if err := m.write("127.0.0.1:1", mesh, known...); err != nil {
		return 0, err
	}
	cmd, err := m.proxy("caller", procs, map[string]string{
		config.EnvInboundListen: mesh, config.EnvInboundApps: "1=127.0.0.1:1",
		config.EnvOutboundUpstreams: out + "=" + m.plane.Authority(upstream),
	})
	if err != nil {
		return 0, err
	}
	defer (&chain{procs: []*exec.Cmd{cmd}}).stop()
	if endpoints > 0 {
		// One request subscribes; it fails, for nothing listens there.
		if err := subscribe(out); err != nil {
			return 0, err
		}
	}
	time.Sleep(settle)
	return resident(cmd.Process.Pid)
}

func manyEndpoints(n int) plane.Service {
	s := plane.Service{Name: "many"}
	for i := range n {
		s.Addresses = append(s.Addresses, fmt.Sprintf("10.244.%d.%d:80", i>>8, i&255))
	}
	return s
}

// subscribe makes a proxy resolve its upstream by asking it for something.
func subscribe(addr string) error {
	resp, err := http.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
