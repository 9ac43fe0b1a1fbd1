package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// shape is a place for proxies: how many, what they carry, and what two of them speak to each
// other.
type shape struct {
	hops   hops
	front  string // what the client and the application speak: http1, http2, grpc or tcp
	middle string // what two proxies speak, over mutual TLS 1.3: http1, http2 or tcp
	conns  int    // how many connections are to fit in; 0: defaultConns
	// the client is h2load, whose HTTP/1 wants a reason phrase, which HAProxy leaves out where a
	// server has none
	reason bool
	// what the mesh is told beside services; others than a mesh do not take part
	policies policies
	bare     bool // as with these, but that nothing is told
}

// policies are what a mesh is told beside services, or who looks at it.
type policies int

const (
	noPolicies policies = iota
	// somePolicies are ten rules, a rate limit, outlier detection and a consistent hash; and two
	// endpoints, or there would be nothing to choose.
	somePolicies
	telemetry // traces, some of them sampled, and an access log
	tapped    // somebody watches a few of the requests
)

type hops int

const (
	oneHop  hops = iota // one proxy, plaintext on both sides
	twoHops             // the caller's and the callee's, mutual TLS between them
	tlsHop              // the callee's alone, for a client that speaks mutual TLS itself
)

const defaultConns = 4096

func (s shape) room() int { return max(s.conns, defaultConns) }

// side is what one process of a peer's is to do.
type side struct {
	role             string // caller, callee or only
	listen, upstream string
	down, up         string // protocols
	downTLS, upTLS   bool
	conns            int
	reason           bool
	dir              string // has its certificates, and room for its configuration
}

// peer is a proxy that can be put into a place.
type peer struct {
	name    string
	version func() string
	mesh    bool // it can be told policies
	start   func(dir string, s shape, a *apps) (*chain, error)
}

var (
	// errAbsent: the peer is not installed; the others are measured without it.
	errAbsent = errors.New("not installed")
	// errCannot: the peer does not do such a thing; the row goes without it.
	errCannot = errors.New("cannot do this")
)

// chain is a peer in its place, running.
type chain struct {
	addr  string
	procs []*exec.Cmd   // the caller's first
	end   func()        // what else is to stop; may be nil
	inner string        // where the callee's proxy listens, if there is one
	mtls  *client       // how to dial it
	ready time.Duration // from its start until it served, of the process that was started last
}

func (c *chain) stop() {
	for _, p := range c.procs {
		end(p)
	}
	if c.end != nil {
		c.end()
	}
}

// end kills a process; one with children (nginx) is given time to end them itself.
func end(p *exec.Cmd) {
	if len(tree(p.Process.Pid)) > 1 {
		p.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(2*time.Second, func() { p.Process.Kill() })
		defer late.Stop()
	} else {
		p.Process.Kill()
	}
	p.Wait() // killed: its error says nothing
}

// command is a peer's process for one side: it writes the configuration and says how to start. It
// may change what the side speaks where the peer cannot do better.
type command func(*side) (name string, args []string, err error)

// build starts the processes of a shape, the last first.
func build(dir string, s shape, a *apps, cmd command) (*chain, error) {
	if err := writeCerts(dir); err != nil {
		return nil, err
	}
	c := &chain{addr: loopback.Free()}
	for _, one := range sides(dir, c.addr, s, a) {
		name, args, err := cmd(&one)
		if err != nil {
			c.stop()
			return nil, err
		}
		began := time.Now()
		p, err := start(one.listen, name, args...)
		c.ready = time.Since(began)
		if err != nil {
			c.stop()
			return nil, err
		}
		c.procs = append([]*exec.Cmd{p}, c.procs...)
		if !one.downTLS {
			continue
		}
		c.inner = one.listen
		if c.mtls, err = fileClient(dir, one.down); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

// sides are in the order in which they are to start.
func sides(dir, front string, s shape, a *apps) []side {
	if s.hops == oneHop {
		return []side{{role: "only", listen: front, upstream: a.addr(s.front), down: s.front,
			up: s.front, conns: s.room(), dir: dir}}
	}
	callee := side{role: "callee", listen: front, upstream: a.addr(s.front), down: s.middle,
		downTLS: true, up: s.front, conns: s.room(), dir: dir}
	if s.hops == tlsHop {
		return []side{callee}
	}
	callee.listen = loopback.Free()
	return []side{callee, {role: "caller", listen: front, upstream: callee.listen, down: s.front,
		up: s.middle, upTLS: true, conns: s.room(), reason: s.reason, dir: dir}}
}

// readyTimeout bounds the start of a process.
const readyTimeout = 20 * time.Second

// start runs a peer's process, one worker thread, and waits for it to listen.
func start(listen, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	log, err := os.CreateTemp("", "bench-peer")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	// nothing outlives the measurement, nor nginx's worker its master
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if awaitListening(listen) {
		return cmd, os.Remove(log.Name())
	}
	cmd.Process.Kill()
	cmd.Wait()
	return nil, fmt.Errorf("%s did not listen on %s; its log is %s", name, listen, log.Name())
}

func awaitListening(addr string) bool {
	until := time.Now().Add(readyTimeout)
	for ; time.Now().Before(until); time.Sleep(time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return true
		}
	}
	return false
}

// configure writes a side's configuration and says where.
func (s side) configure(text string) (path string, err error) {
	path = filepath.Join(s.dir, s.role+".conf")
	return path, os.WriteFile(path, []byte(text), 0o600)
}
