package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/plane"
)

// stage is the proxies, the application, and where attackers may stand.
type stage struct {
	plane           *plane.Plane
	app             string
	callee, caller  *process // the application's proxy, and one that calls it
	inbound, meshed *position
	outbound        *position
	evil, evilMesh  server
	toEvil, toMesh  *position // outbound, to a server that is hostile: in plaintext, and as a proxy
	rest            []int     // memory at rest
	base            time.Duration
}

func openStage(ctx context.Context, dir string) (*stage, error) {
	p, err := plane.Start(ctx, dir, "hostile")
	if err != nil {
		return nil, err
	}
	s := &stage{plane: p}
	if s.app, err = serveApp(); err != nil {
		return nil, err
	}
	mesh, out := loopback.Free(), loopback.Free()
	if err := s.describe(mesh); err != nil {
		return nil, err
	}
	toEvil, toMesh := loopback.Free(), loopback.Free()
	_, port, err := net.SplitHostPort(s.app)
	if err != nil {
		return nil, err
	}
	s.callee, err = s.start("app", map[string]string{config.EnvInboundListen: mesh,
		config.EnvInboundApps: port + "=" + s.app, config.EnvOutboundUpstreams: loopback.Free() + "=" + p.Authority("app")})
	if err != nil {
		return nil, err
	}
	s.caller, err = s.start("caller", map[string]string{config.EnvInboundListen: loopback.Free(),
		config.EnvInboundApps: "1=127.0.0.1:1", config.EnvOutboundUpstreams: out + "=" + p.Authority("app") +
			"," + toEvil + "=" + p.Authority("evil") + "," + toMesh + "=" + p.Authority("evilmesh")})
	if err != nil {
		s.callee.stop()
		return nil, err
	}
	victim := newVictim(out, s.app)
	s.toEvil = &position{name: "to a server", addr: toEvil, victim: victim, procs: []*process{s.callee, s.caller}}
	s.toMesh = &position{name: "to a proxy", addr: toMesh, victim: victim, procs: []*process{s.callee, s.caller}}
	return s, s.place(mesh, out, port)
}

// describe tells destination of the application and of the hostile servers.
func (s *stage) describe(mesh string) error {
	src, err := s.plane.Source("evilmesh")
	if err != nil {
		return err
	}
	plain, err := s.evil.listen(nil)
	if err != nil {
		return err
	}
	tls, err := s.evilMesh.listen(src)
	if err != nil {
		return err
	}
	return s.plane.Write(plane.Service{Name: "app", Addresses: []string{s.app}, Mesh: mesh}, plane.Service{Name: "evil", Addresses: []string{plain}},
		plane.Service{Name: "caller", Addresses: []string{"127.0.0.1:1"}, Mesh: "127.0.0.1:1"},
		plane.Service{Name: "evilmesh", Addresses: []string{"127.0.0.1:1"}, Mesh: tls})
}

func (s *stage) place(mesh, out, port string) error {
	src, err := s.plane.Source("attacker")
	if err != nil {
		return err
	}
	procs := []*process{s.callee, s.caller}
	in := newVictim(mesh, s.app)
	s.inbound = &position{name: "inbound", dial: plainly(mesh), victim: in, procs: procs}
	s.meshed = &position{name: "inbound, mTLS", dial: meshed(mesh, src, s.plane.WorkloadID("app"), port), mesh: true, victim: in, procs: procs}
	s.outbound = &position{name: "outbound", dial: plainly(out), victim: newVictim(out, s.app), procs: procs}
	return nil
}

func (s *stage) close() {
	s.caller.stop()
	s.callee.stop()
}

func (s *stage) rows(pattern *regexp.Regexp) []*row {
	var rows []*row
	add := func(list []*attack, at ...*position) {
		for _, pos := range at {
			for _, a := range list {
				if pattern.MatchString(a.name + ", " + pos.name) {
					rows = append(rows, &row{attack: a, position: pos})
				}
			}
		}
	}
	add(http2Floods(), s.inbound, s.meshed, s.outbound)
	add(http1Floods(), s.inbound, s.outbound)
	add(connectionFloods(), s.inbound, s.outbound)
	add(tlsFloods(), s.inbound)
	add(holders(), s.inbound, s.meshed, s.outbound)
	add([]*attack{madeUpNames()}, s.inbound, s.outbound)
	for _, a := range hostileServers2() {
		add([]*attack{a.against(&s.evil)}, s.toEvil)
		add([]*attack{a.against(&s.evilMesh)}, s.toMesh)
	}
	for _, a := range hostileServers1() {
		add([]*attack{a.against(&s.evil)}, s.toEvil)
	}
	return rows
}

// slowRows take as long as the timeouts that end them.
func (s *stage) slowRows(pattern *regexp.Regexp) (rows []*row) {
	for _, a := range tricklers() {
		for _, pos := range []*position{s.inbound, s.meshed, s.outbound} {
			if pattern.MatchString(a.name+", "+pos.name) && !(pos.mesh && a.want == "408") {
				rows = append(rows, &row{attack: a, position: pos})
			}
		}
	}
	return rows
}

// perform runs all rows, with single attackers first: memory that was taken once is given back late.
func (s *stage) perform(rows []*row) error {
	s.heading()
	for _, r := range rows {
		r.alone()
	}
	goroutines, err := s.goroutines()
	if err != nil {
		return err
	}
	for _, r := range rows {
		r.together(s.rest, s.base)
		s.judgeLeftover(r, goroutines)
		r.print()
		for _, p := range r.procs {
			if err := p.alive(); err != nil {
				r.fail("%v", err)
				return nil // nothing more can be learnt
			}
		}
	}
	return nil
}

// settle measures what a client sees, and what the proxies take, without an attack.
func (s *stage) settle() error {
	for _, pos := range []*position{s.inbound, s.outbound} {
		ctx, cancel := context.WithTimeout(context.Background(), baselineTime)
		saw := pos.victim.watch(ctx)
		cancel()
		if saw.failed != nil {
			return fmt.Errorf("without an attack: %w", saw.failed)
		}
		s.base = max(s.base, saw.p99)
	}
	s.rest = resident(s.outbound.procs)
	return nil
}

func (s *stage) resting() string {
	var all []string
	for _, n := range s.rest {
		all = append(all, mib(n))
	}
	return strings.Join(all, " and ")
}

func (s *stage) goroutines() ([]float64, error) {
	var all []float64
	for _, p := range []*process{s.callee, s.caller} {
		m, err := p.scrape()
		if err != nil {
			return nil, err
		}
		all = append(all, m["go_goroutines"])
	}
	return all, nil
}

// judgeLeftover waits until a row has left no more goroutines than it may.
func (s *stage) judgeLeftover(r *row, before []float64) {
	for until := time.Now().Add(leftoverWait); ; time.Sleep(50 * time.Millisecond) {
		now, err := s.goroutines()
		if err != nil {
			r.fail("%v", err)
			return
		}
		more := 0.0
		for i := range now {
			more = max(more, now[i]-before[i])
		}
		if more <= leftover {
			return
		}
		if time.Now().After(until) {
			r.fail("%.0f goroutines more than before are left", more)
			return
		}
	}
}
