package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// Options say what Up shall run, and where.
type Options struct {
	File     string // the mesh.yaml
	Dir      string // the state folder
	Marker   string // not empty: relays record, and look for it
	Proxy    string // mesh-proxy's path; empty: found beside meshctl or in PATH
	Version  string // meshctl's, which mesh-proxy's must equal
	LogLevel string // the proxies'
	Out      io.Writer
	Err      io.Writer
	// Live, when not nil, shows what happens in the mesh, from viz's query address, until its
	// context ends.
	Live func(ctx context.Context, viz string)
}

// session is one call of Up.
type session struct {
	Options
	mesh     *Mesh
	proxy    string
	state    *state
	run      run
	plan     *plan
	log      *slog.Logger
	logFile  *os.File
	super    *supervisor
	plane    *plane
	page     *page
	relays   []*relay
	control  *control
	commands *commands
	watched  sync.WaitGroup

	mu       sync.Mutex
	apps     map[string]*process // by instance
	proxies  map[string]*process
	expected map[*process]bool // ended by us: no crash
	printing sync.Mutex        // crash reports come from a goroutine of their own
}

// Up runs a mesh until the context ends, and leaves nothing behind.
func Up(ctx context.Context, o Options) (err error) {
	m, err := Load(o.File)
	if err != nil {
		return err
	}
	warnings, err := checkProfiles(m)
	if err != nil {
		return err
	}
	proxy, err := findProxy(ctx, o.Proxy, o.Version)
	if err != nil {
		return err
	}
	st, err := openState(o.Dir)
	if err != nil {
		return err
	}
	s := &session{Options: o, mesh: m, proxy: proxy, state: st, run: newRun(),
		apps: map[string]*process{}, proxies: map[string]*process{}, expected: map[*process]bool{}}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, w := range warnings {
		s.say("warning: %s", w)
	}
	if err := s.start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // the user ended it meanwhile
		}
		return err
	}
	s.greet()
	if s.Live != nil {
		s.Live(ctx, s.plan.ports.VizQuery)
	}
	<-ctx.Done()
	return nil
}

// say is a line of progress.
func (s *session) say(format string, args ...any) {
	s.printing.Lock()
	defer s.printing.Unlock()
	fmt.Fprintf(s.Err, format+"\n", args...)
}

// start brings everything up, each part once what it needs is there.
func (s *session) start(ctx context.Context) (err error) {
	if s.plan, err = newPlan(s.mesh, s.Marker != ""); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		s.openLog, s.startPlane, s.startRelays, s.startControl, s.startProxies, s.startApps,
		s.startCommands,
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) openLog(context.Context) (err error) {
	s.super = newSupervisor(s.run)
	s.watched.Go(s.watch)
	if err := s.state.writeJSON(runFile, s.run); err != nil {
		return err
	}
	s.logFile, err = os.OpenFile(s.logPath("control-plane"), os.O_CREATE|os.O_APPEND|os.O_WRONLY,
		0o600)
	if err != nil {
		return fmt.Errorf("open the control plane's log: %w", err)
	}
	s.log = slog.New(slog.NewTextHandler(s.logFile, nil))
	return nil
}

func (s *session) startPlane(ctx context.Context) (err error) {
	objects := s.state.path(objectsDir)
	if err := writeObjects(objects, s.plan); err != nil {
		return err
	}
	folders := append([]string{objects}, s.mesh.Profiles...)
	in := inputs{folders: folders, consul: s.mesh.Consul, tracing: s.mesh.Tracing,
		kept: s.state.path(objectivesFile), version: s.Version}
	if s.plane, err = startPlane(ctx, in, s.log); err != nil {
		return err
	}
	if err := replaceFile(s.state.path(trustFile), s.plane.roots()); err != nil {
		return err
	}
	p := &s.plan.ports
	p.Identity, p.Destination, p.Viz, p.VizQuery = s.plane.identityAddr, s.plane.destinationAddr,
		s.plane.vizAddr, s.plane.queryAddr
	if err := s.startPage(p.VizQuery); err != nil {
		return err
	}
	p.Page = s.page.addr
	p.Metrics = s.plane.pages
	s.say("control plane: identity %s, destination %s, viz %s", p.Identity, p.Destination, p.Viz)
	return s.state.writeJSON(portsFile, p)
}

func (s *session) startRelays(context.Context) error {
	who := owners{s.processes}
	for n := range s.plan.ports.Instances {
		i := &s.plan.ports.Instances[n]
		if i.Relay == "" {
			continue
		}
		target := i.App
		if i.Mesh != "" {
			target = i.Mesh
		}
		r, err := newRelay(relayConfig{listen: i.Relay, to: i.Name, target: target,
			marker: s.Marker, owner: who.of, log: s.log})
		if err != nil {
			return err
		}
		s.relays = append(s.relays, r)
	}
	return nil
}

// processes names the running processes, for the relays.
func (s *session) processes() map[int]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[int]string{}
	for _, all := range []map[string]*process{s.apps, s.proxies} {
		for instance, p := range all {
			out[p.cmd.Process.Pid] = instance
		}
	}
	return out
}

func (s *session) startControl(context.Context) (err error) {
	s.control, err = serveControl(s.state.path(controlFile),
		controls{records: s.records, restart: s.restart, diagnose: s.plane.diagnose,
			page: s.page.address, log: s.log})
	return err
}

func (s *session) records() []Record {
	out := []Record{}
	for _, r := range s.relays {
		out = append(out, r.list()...)
	}
	return out
}

// restart ends a part and starts it again, on the same addresses.
func (s *session) restart(ctx context.Context, name string) error {
	switch name {
	case "viz", "destination":
		s.say("restarting %s", name)
		return s.plane.restart(name)
	}
	for n := range s.plan.ports.Instances {
		if i := &s.plan.ports.Instances[n]; i.Name == name {
			return s.restartApp(ctx, i)
		}
	}
	return fmt.Errorf(
		"nothing here is called %q: name viz, destination, or an instance that 'meshctl dev "+
			"status' lists", name)
}

// Graces for processes to end in, when they are told to.
const (
	appGrace   = 5 * time.Second
	proxyGrace = 5 * time.Second
)

func (s *session) restartApp(ctx context.Context, i *Instance) error {
	s.mu.Lock()
	old := s.apps[i.Name]
	if old == nil {
		s.mu.Unlock()
		return fmt.Errorf("%s was not started by this mesh", i.Name)
	}
	s.expected[old] = true
	s.mu.Unlock()
	s.say("restarting %s", i.Name)
	stop([]*process{old}, appGrace)
	return s.startApp(ctx, i)
}

// watch reports every process that ends without being told to. It ends when the supervisor has.
func (s *session) watch() {
	for p := range s.super.exited {
		s.mu.Lock()
		expected := s.expected[p]
		s.mu.Unlock()
		if expected {
			continue
		}
		s.say("%s %s. The end of its log (%s):\n%s", p.name, p.ending(), p.log, p.tail())
	}
}

// close ends everything, callers first, so that nobody is left to call what is gone.
func (s *session) close() error {
	if s.plan != nil {
		defer s.plan.close()
	}
	if s.super == nil {
		return s.state.remove()
	}
	s.say("ending the mesh")
	if s.commands != nil {
		s.commands.close()
	}
	apps, proxies := s.expectAll()
	stop(apps, appGrace)
	stop(proxies, proxyGrace)
	err := s.super.close()
	s.watched.Wait()
	if s.control != nil {
		s.control.close()
	}
	for _, r := range s.relays {
		r.close()
	}
	if s.page != nil {
		s.page.close()
	}
	if s.plane != nil {
		err = errors.Join(err, s.plane.close())
	}
	if s.logFile != nil {
		err = errors.Join(err, s.logFile.Close())
	}
	return errors.Join(err, s.state.remove())
}

// expectAll says that whatever ends from now on is meant to.
func (s *session) expectAll() (apps, proxies []*process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.apps {
		apps = append(apps, p)
	}
	for _, p := range s.proxies {
		proxies = append(proxies, p)
	}
	for _, p := range append(append([]*process(nil), apps...), proxies...) {
		s.expected[p] = true
	}
	return apps, proxies
}

// listens waits until something accepts connections at an address.
func listens(ctx context.Context, addr string, ended <-chan struct{}) bool {
	const pause = 20 * time.Millisecond
	for {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-ended:
			return false
		case <-time.After(pause): // there is nothing to wait on for another process's listener
		}
	}
}
