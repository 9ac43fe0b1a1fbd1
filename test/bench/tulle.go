package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/plane"
)

// mesh is a control plane in this process, and the proxy that it is for.
type mesh struct {
	plane  *plane.Plane
	binary string
	ctx    context.Context
	cancel context.CancelFunc
	beside sync.WaitGroup // who looks, and what takes spans
}

func (m *mesh) end() {
	m.cancel()
	m.beside.Wait()
}

func startMesh(binary, dir string) (*mesh, error) {
	ctx, cancel := context.WithCancel(context.Background())
	p, err := plane.Start(ctx, dir, "bench")
	if err == nil {
		err = p.ServeViz()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &mesh{plane: p, binary: binary, ctx: ctx, cancel: cancel}, nil
}

// proxy starts one, with so many threads.
func (m *mesh) proxy(service string, procs int, env map[string]string) (*exec.Cmd, error) {
	env["GOMAXPROCS"] = strconv.Itoa(procs)
	cmd, _, err := m.plane.Proxy(m.binary, service, os.Stderr, env)
	return cmd, err
}

// write describes the application, behind its proxy if it has one, and the caller; and others,
// which are only known of.
func (m *mesh) write(app, address string, others ...plane.Service) error {
	return m.writeAll([]string{app}, address, others...)
}

func (m *mesh) writeAll(app []string, address string, others ...plane.Service) error {
	return m.plane.Write(append(others,
		plane.Service{Name: "app", Addresses: app, Mesh: address},
		plane.Service{Name: "caller", Addresses: []string{"127.0.0.1:1"}, Mesh: "127.0.0.1:1"})...)
}

// tulle is the proxy under test, with its control plane in this process: discovery, certificates,
// routing, metrics and reporting are on.
func tulle(name, binary string) peer {
	version := func() string {
		return firstLine("git", "describe", "--tags", "--always", "--dirty")
	}
	return peer{name: name, version: version, mesh: true,
		start: func(dir string, s shape, a *apps) (*chain, error) {
			return startTulle(binary, dir, s, a)
		}}
}

// bare is the same proxy where it is told of no policies, and nobody looks, in rows in which that
// is so of the other.
func bare(binary string) peer {
	return peer{name: "bare", mesh: true,
		start: func(dir string, s shape, a *apps) (*chain, error) {
			if s.policies == noPolicies {
				return nil, errCannot
			}
			s.bare = true
			return startTulle(binary, dir, s, a)
		}}
}

func startTulle(binary, dir string, s shape, a *apps) (*chain, error) {
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("%w (make build)", err)
	}
	m, err := startMesh(binary, dir)
	if err != nil {
		return nil, err
	}
	c := &chain{addr: loopback.Free(), end: m.end}
	if err := m.build(c, s, a.addr(s.front)); err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// build starts the proxies of a shape and tells destination about them.
func (m *mesh) build(c *chain, s shape, app string) error {
	if s.hops == oneHop {
		if err := m.write(app, ""); err != nil {
			return err
		}
		return m.caller(c)
	}
	mesh := loopback.Free()
	if err := m.writeAll(s.endpoints(app), mesh); err != nil {
		return err
	}
	if s.policies == somePolicies && !s.bare {
		if err := m.plane.Tell(policed()); err != nil {
			return err
		}
	}
	if err := m.callee(c, mesh, app); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(app)
	client, err := m.client(port)
	if err != nil {
		return err
	}
	c.inner, c.mtls = mesh, client
	if s.hops != twoHops {
		c.addr = mesh
		return nil
	}
	if err := m.caller(c); err != nil {
		return err
	}
	return m.look(c, s)
}

// look begins what a shape has of looking.
func (m *mesh) look(c *chain, s shape) error {
	switch {
	case s.bare:
		return nil
	case s.policies == telemetry:
		return m.sample(c.addr)
	case s.policies == tapped:
		return m.tap()
	}
	return nil
}

func (m *mesh) caller(c *chain) error {
	began := time.Now()
	defer func() { c.ready = time.Since(began) }()
	cmd, err := m.proxy("caller", 1, map[string]string{
		config.EnvInboundListen: loopback.Free(), config.EnvInboundApps: "1=127.0.0.1:1",
		config.EnvOutboundUpstreams: c.addr + "=" + m.plane.Authority("app"),
	})
	if cmd != nil {
		c.procs = append([]*exec.Cmd{cmd}, c.procs...)
	}
	return err
}

func (m *mesh) callee(c *chain, mesh, app string) error {
	_, port, _ := net.SplitHostPort(app)
	cmd, err := m.proxy("app", 1, map[string]string{
		config.EnvInboundListen: mesh, config.EnvInboundApps: port + "=" + app,
		config.EnvOutboundUpstreams: loopback.Free() + "=" + m.plane.Authority("app"),
	})
	if cmd != nil {
		c.procs = append(c.procs, cmd)
	}
	return err
}

// client is a workload's identity with which to dial a proxy's inbound side.
func (m *mesh) client(port string) (*client, error) {
	src, err := m.plane.Source("caller")
	if err != nil {
		return nil, err
	}
	chain, key, err := src.SVID().MarshalRaw()
	if err != nil {
		return nil, err
	}
	return newClient(chain, key, m.plane.TrustFile(), port+config.SNISuffix, config.ALPNHTTP)
}
