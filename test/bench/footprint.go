package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
)

// Limits of the proxy's footprint, in MB of 10^6 bytes.
const (
	maxBinary   = 11
	maxIdle     = 12
	maxWithMany = 24 // with manyKnown endpoints subscribed
	manyKnown   = 1000
	settle      = 3 * time.Second // after start: the first collections
)

// footprint prints each figure beside its limit and reports whether all are within.
func footprint() (ok bool, err error) {
	info, err := os.Stat(*meshProxy)
	if err != nil {
		return false, fmt.Errorf("%w (make build)", err)
	}
	ok = within("binary", float64(info.Size())/1e6, maxBinary)
	for _, procs := range []int{1, 64} {
		mb, err := idle(procs, 0)
		if err != nil {
			return false, err
		}
		ok = within(fmt.Sprintf("idle, GOMAXPROCS=%d", procs), mb, maxIdle) && ok
	}
	mb, err := idle(1, manyKnown)
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

// idle is the resident memory of a proxy that is ready and does nothing.
func idle(procs, endpoints int) (mb float64, err error) {
	dir, err := os.MkdirTemp("", "footprint")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	p, err := startPlane(dir)
	if err != nil {
		return 0, err
	}
	defer p.cancel()
	mesh, out := freeAddr(), freeAddr()
	if err := p.write("127.0.0.1:1", mesh, endpoints); err != nil {
		return 0, err
	}
	upstream := "many.bench.svc.cluster.local:80"
	if endpoints == 0 {
		upstream = upstreamName
	}
	cmd, err := p.proxy("caller", map[string]string{config.EnvInboundListen: mesh, config.EnvInboundApps: "1=127.0.0.1:1",
		config.EnvOutboundUpstreams: out + "=" + upstream}, procs)
	if err != nil {
		return 0, err
	}
	defer (&pair{procs: []*exec.Cmd{cmd}}).stop()
	if endpoints > 0 {
		// One request subscribes; it fails, for nothing listens there.
		if err := subscribe(out); err != nil {
			return 0, err
		}
	}
	time.Sleep(settle)
	return resident(cmd.Process.Pid)
}

// resident reads VmRSS.
func resident(pid int) (mb float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}
