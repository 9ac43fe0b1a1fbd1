package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// tulle is the proxy under test, with its control plane in this process: discovery, certificates, routing, metrics and
// reporting are on.
func tulle(binary string) peer {
	version := func() string { return firstLine("git", "describe", "--tags", "--always", "--dirty") }
	return peer{name: "tulle", version: version, start: func(dir string, s shape, a *apps) (*chain, error) {
		if _, err := os.Stat(binary); err != nil {
			return nil, fmt.Errorf("%w (make build)", err)
		}
		p, err := startPlane(binary, dir)
		if err != nil {
			return nil, err
		}
		c := &chain{addr: freeAddr(), end: p.cancel}
		if err := p.build(c, s, a.addr(s.front)); err != nil {
			c.stop()
			return nil, err
		}
		return c, nil
	}}
}

// build starts the proxies of a shape and tells destination about them.
func (p *plane) build(c *chain, s shape, app string) error {
	if s.hops == oneHop {
		if err := p.write(app, "", 0); err != nil {
			return err
		}
		return p.caller(c)
	}
	mesh := freeAddr()
	if err := p.write(app, mesh, 0); err != nil {
		return err
	}
	if err := p.callee(c, mesh, app); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(app)
	client, err := p.client(port)
	if err != nil {
		return err
	}
	c.inner, c.mtls = mesh, client
	if s.hops == twoHops {
		return p.caller(c)
	}
	c.addr = mesh
	return nil
}

func (p *plane) caller(c *chain) error {
	began := time.Now()
	defer func() { c.ready = time.Since(began) }()
	cmd, err := p.proxy("caller", map[string]string{config.EnvInboundListen: freeAddr(), config.EnvInboundApps: "1=127.0.0.1:1",
		config.EnvOutboundUpstreams: c.addr + "=" + upstreamName}, 1)
	if cmd != nil {
		c.procs = append([]*exec.Cmd{cmd}, c.procs...)
	}
	return err
}

func (p *plane) callee(c *chain, mesh, app string) error {
	_, port, _ := net.SplitHostPort(app)
	cmd, err := p.proxy("app", map[string]string{config.EnvInboundListen: mesh, config.EnvInboundApps: port + "=" + app,
		config.EnvOutboundUpstreams: freeAddr() + "=" + upstreamName}, 1)
	if cmd != nil {
		c.procs = append(c.procs, cmd)
	}
	return err
}

// client is a workload's identity with which to dial a proxy's inbound side.
func (p *plane) client(port string) (*client, error) {
	src, err := p.dev.Source(p.ctx, spiffeid.RequireFromString("spiffe://"+trustDomain+"/ns/bench/sa/caller"))
	if err != nil {
		return nil, err
	}
	chain, key, err := src.SVID().MarshalRaw()
	if err != nil {
		return nil, err
	}
	return newClient(chain, key, filepath.Join(p.dir, "ca.crt"), port+config.SNISuffix, config.ALPNHTTP)
}
