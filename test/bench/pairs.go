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

	"github.com/tulle-mesh/tulle/proxy/config"
)

// pair is two running proxies and where to send load.
type pair struct {
	addr  string
	procs []*exec.Cmd
}

func (p *pair) stop() {
	for _, c := range p.procs {
		c.Process.Signal(syscall.SIGKILL)
		c.Wait() // killed: its error says nothing
	}
}

// starter starts a pair between protocol's client and app.
type starter func(dir, protocol, app string) (*pair, error)

func starters() map[string]starter {
	return map[string]starter{"tulle": startTulle, "haproxy": startHAProxy, "envoy": startEnvoy, "reverseproxy": startReverse}
}

// errAbsent: the peer is not installed; the others are measured without it.
var errAbsent = errors.New("not installed")

func startTulle(dir, protocol, app string) (*pair, error) {
	p, err := startPlane(dir)
	if err != nil {
		return nil, err
	}
	mesh, out := freeAddr(), freeAddr()
	if err := p.write(app, mesh, 0); err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(app)
	callee, err := p.proxy("app", map[string]string{config.EnvInboundListen: mesh, config.EnvInboundApps: port + "=" + app,
		config.EnvOutboundUpstreams: freeAddr() + "=" + upstreamName}, 1)
	if err != nil {
		return nil, err
	}
	caller, err := p.proxy("caller", map[string]string{config.EnvInboundListen: freeAddr(), config.EnvInboundApps: "1=127.0.0.1:1",
		config.EnvOutboundUpstreams: out + "=" + upstreamName}, 1)
	if err != nil {
		return nil, err
	}
	return &pair{addr: out, procs: []*exec.Cmd{caller, callee}}, nil
}

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
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for until := time.Now().Add(readyTimeout); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", listen); err == nil {
			c.Close()
			return cmd, os.Remove(log.Name())
		}
	}
	cmd.Process.Kill()
	return nil, fmt.Errorf("%s did not listen on %s; its log is %s", name, listen, log.Name())
}

// both starts the callee's process and then the caller's, from one function that writes a configuration and returns the
// command for it.
func both(app string, command func(role, listen, upstream string) (name string, args []string, err error)) (*pair, error) {
	middle, front := freeAddr(), freeAddr()
	p := &pair{addr: front}
	for _, s := range []struct{ role, listen, upstream string }{{"callee", middle, app}, {"caller", front, middle}} {
		name, args, err := command(s.role, s.listen, s.upstream)
		if err != nil {
			p.stop()
			return nil, err
		}
		cmd, err := start(s.listen, name, args...)
		if err != nil {
			p.stop()
			return nil, err
		}
		p.procs = append(p.procs, cmd)
	}
	return p, nil
}

func startHAProxy(dir, protocol, app string) (*pair, error) {
	bin, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, errAbsent
	}
	if err := writeCerts(dir); err != nil {
		return nil, err
	}
	plain := map[string]string{"http1": "", "http2": " proto h2"}[protocol]
	tls := fmt.Sprintf(" ssl crt %[1]s/both.pem ca-file %[1]s/ca.pem alpn h2 ", dir)
	return both(app, func(role, listen, upstream string) (string, []string, error) {
		bind, server := plain, tls+"verify required sni str(bench) verifyhost bench ssl-min-ver TLSv1.3"
		if role == "callee" {
			bind, server = tls+"verify required ssl-min-ver TLSv1.3", plain
		}
		text := fmt.Sprintf("global\n  nbthread 1\n  maxconn 4096\n  tune.h2.max-concurrent-streams 256\n"+
			"defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n"+
			"frontend f\n  bind %s%s\n  default_backend b\nbackend b\n  server s %s%s\n", listen, bind, upstream, server)
		path := filepath.Join(dir, role+".cfg")
		return bin, []string{"-db", "-f", path}, os.WriteFile(path, []byte(text), 0o600)
	})
}

func startReverse(dir, protocol, app string) (*pair, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := writeCerts(dir); err != nil {
		return nil, err
	}
	return both(app, func(role, listen, upstream string) (string, []string, error) {
		return self, []string{"-reverse", role, "-certs", dir, "-protocol", protocol, "-listen", listen, "-upstream", upstream}, nil
	})
}
