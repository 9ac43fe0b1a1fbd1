package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/plane"
)

// stage is the proxies, the application, and where attackers may stand.
type stage struct {
	plane *plane.Plane
	env   map[string]string // of both proxies
	// where the first is called by others, and the second by its application
	mesh, out       string
	app             string
	callee, caller  *process // the application's proxy, and one that calls it
	inbound, meshed *position
	outbound        *position
	toEvil, toMesh  *evil   // in plaintext, and as a proxy
	stuck           []*evil // each for one of stuckServers
	rest            []int   // memory at rest
	base            time.Duration
}

// openStage starts two proxies with what env adds to their environment.
func openStage(ctx context.Context, dir string, env map[string]string) (*stage, error) {
	p, err := plane.Start(ctx, dir, "hostile")
	if err != nil {
		return nil, err
	}
	s := &stage{plane: p, env: env, mesh: loopback.Free(), out: loopback.Free()}
	if s.app, err = serveApp(); err != nil {
		return nil, err
	}
	if err := s.placeEvil(); err != nil {
		return nil, err
	}
	if err := s.describe(s.mesh); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(s.app)
	if err != nil {
		return nil, err
	}
	s.callee, err = s.start("app", map[string]string{
		config.EnvInboundListen: s.mesh, config.EnvInboundApps: port + "=" + s.app,
		config.EnvOutboundUpstreams: loopback.Free() + "=" + s.plane.Authority("app"),
	})
	if err != nil {
		return nil, err
	}
	s.caller, err = s.start("caller", map[string]string{config.EnvInboundListen: loopback.Free(),
		config.EnvInboundApps: "1=127.0.0.1:1", config.EnvOutboundUpstreams: s.upstreams(s.out)})
	if err != nil {
		s.callee.stop()
		return nil, err
	}
	return s, s.place(s.mesh, s.out, port)
}

// upstreams is where the caller's proxy listens, and for what.
func (s *stage) upstreams(out string) string {
	list := []string{out + "=" + s.plane.Authority("app")}
	for _, e := range s.evils() {
		list = append(list, e.addr+"="+s.plane.Authority(e.name))
	}
	return strings.Join(list, ",")
}

func (s *stage) evils() []*evil { return append([]*evil{s.toEvil, s.toMesh}, s.stuck...) }

// describe tells destination of the application and of the hostile servers.
func (s *stage) describe(mesh string) error {
	list := []plane.Service{
		{Name: "app", Addresses: []string{s.app}, Mesh: mesh}, nowhere("caller", nowhereAddr),
	}
	for _, e := range s.evils() {
		list = append(list, e.service)
	}
	return s.plane.Write(list...)
}

func (s *stage) place(mesh, out, port string) error {
	src, err := s.plane.Source("attacker")
	if err != nil {
		return err
	}
	procs := []*process{s.callee, s.caller}
	in := newVictim(mesh, s.app)
	s.inbound = &position{name: "inbound", dial: plainly(mesh), victim: in, procs: procs}
	s.meshed = &position{name: "inbound, mTLS", mesh: true, victim: in, procs: procs,
		dial: meshed(mesh, src, s.plane.WorkloadID("app"), port)}
	s.outbound = &position{
		name: "outbound", dial: plainly(out), victim: newVictim(out, s.app), procs: procs,
	}
	for _, e := range s.evils() {
		e.victim, e.procs = s.outbound.victim, procs
	}
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
	add([]*attack{
		rapidReset("rapid reset (CVE-2023-44487)", calm, calmed),
		overcrowd("streams beyond the limit", calm, calmed),
	}, s.inbound, s.meshed)
	// The application keeps its connection: its own requests are what it has to lose.
	own := rapidReset("rapid reset by the application", served, "")
	own.own = true
	add([]*attack{own}, s.outbound)
	add(http2Floods(), s.inbound, s.meshed, s.outbound)
	// frames are the same code wherever the connection is from
	add(append(chatter(), mistakes()...), s.inbound, s.meshed)
	add(http1Floods(), s.inbound, s.outbound)
	add(connectionFloods(), s.inbound, s.outbound)
	add(tlsFloods(), s.inbound)
	add([]*attack{trickled("a ClientHello that trickles in", meshHello)}, s.inbound)
	add([]*attack{trickled("a preface that trickles in", func() []byte {
		return []byte(clientPreface + clientPreface)
	})}, s.outbound)
	add(holders(), s.inbound, s.meshed, s.outbound)
	add([]*attack{refunds()}, s.inbound, s.meshed, s.outbound)
	add([]*attack{madeUpNames()}, s.inbound, s.outbound)
	for _, a := range slices.Concat(floodingServers(), breakingServers(), mildServers()) {
		add([]*attack{a.against(s.toEvil)}, s.toEvil.position)
		add([]*attack{a.against(s.toMesh)}, s.toMesh.position)
	}
	for _, a := range hostileServers1() {
		add([]*attack{a.against(s.toEvil)}, s.toEvil.position)
	}
	return rows
}

// slowRows take as long as the timeouts that end them.
func (s *stage) slowRows(pattern *regexp.Regexp) (rows []*row) {
	add := func(a *attack, pos *position) {
		if pattern.MatchString(a.name + ", " + pos.name) {
			rows = append(rows, &row{attack: a, position: pos})
		}
	}
	for _, pos := range []*position{s.inbound, s.meshed, s.outbound} {
		for _, a := range slowHTTP2() {
			add(a, pos)
		}
	}
	for _, pos := range []*position{s.inbound, s.outbound} {
		for _, a := range slowHTTP1() {
			add(a, pos)
		}
	}
	add(stoppedHandshake(), s.inbound)
	add(trickledPreface(), s.meshed)
	for i, a := range stuckServers() {
		add(a.against(s.stuck[i]), s.stuck[i].position)
	}
	return rows
}

// perform runs all rows, with single attackers first: memory that was taken once is given back
// late. The slow ones are beside the hundreds, who must bear what those hold.
func (s *stage) perform(rows, slow []*row) error {
	s.heading()
	for _, r := range rows {
		r.alone()
	}
	before, err := s.goroutines()
	if err != nil {
		return err
	}
	wait := trickle(slow)
	if len(slow) > 0 {
		time.Sleep(slowStart)
	}
	beside, err := s.goroutines()
	if err != nil {
		return err
	}
	for _, r := range rows {
		r.together(s.rest, s.base)
		s.judgeLeftover(r, beside)
		r.print()
		if !r.survived() {
			return nil // nothing more can be learnt
		}
	}
	wait()
	for _, r := range slow {
		r.judgeCounts()
		s.judgeLeftover(r, before)
		r.survived()
		r.print()
	}
	return nil
}

func (r *row) survived() bool {
	for _, p := range r.procs {
		if err := p.alive(); err != nil {
			r.fail("%v", err)
			return false
		}
	}
	return true
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
