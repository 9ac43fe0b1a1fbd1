package dev

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/health"
)

// HealthCheck is how a service's instances are asked whether they are well.
type HealthCheck struct {
	crd.HealthCheck          // by the instances' proxies, unless there is a command
	Exec            []string // or a command of this machine's, which must end with status 0
}

// A check on one's own machine is more frequent than on a cluster.
const devInterval = "1s"

// check reads a service's check. Its rules are those of the kind that it becomes.
func (p *parser) check(n *yaml.Node, service, what string) *HealthCheck {
	c := &HealthCheck{}
	threshold := func(to **uint32) func(*yaml.Node) {
		return func(v *yaml.Node) {
			number := uint32(p.number(v, what, api.MaxThreshold))
			*to = &number
		}
	}
	seen := p.fields(n, what, map[string]func(*yaml.Node){
		"http": func(v *yaml.Node) { c.HTTP = &crd.HTTPCheck{Path: p.text(v, what+": http")} },
		"tcp":  func(v *yaml.Node) { p.tcpCheck(v, c, what) },
		"grpc": func(v *yaml.Node) {
			c.GRPC = &crd.GRPCCheck{Service: p.maybe(v, what+": grpc")}
		},
		"exec":     func(v *yaml.Node) { c.Exec = p.command(v, what+": exec") },
		"interval": func(v *yaml.Node) { c.Interval = p.text(v, what+": interval") },
		"timeout":  func(v *yaml.Node) { c.Timeout = p.text(v, what+": timeout") },

		"healthyThreshold":   threshold(&c.HealthyThreshold),
		"unhealthyThreshold": threshold(&c.UnhealthyThreshold),
	})
	ways := 0
	for _, way := range []string{"http", "tcp", "grpc", "exec"} {
		if seen[way] {
			ways++
		}
	}
	if ways != 1 {
		p.fail(n, "%s: say exactly one of http, tcp, grpc, exec", what)
		return c
	}
	if c.Exec != nil {
		c.TCP = &crd.TCPCheck{} // a time and thresholds are as of any other
	}
	c.Interval = cmp.Or(c.Interval, devInterval)
	policy := c.policy(p.mesh.Namespace, service)
	policy.Default()
	for _, problem := range policy.Validate() {
		p.fail(n, "%s: %s", what, strings.TrimPrefix(problem.Error(), "spec.healthCheck."))
	}
	return c
}

// maybe is a scalar that may be empty.
func (p *parser) maybe(n *yaml.Node, what string) string {
	n = resolved(n)
	if n.Kind != yaml.ScalarNode {
		p.fail(n, "%s must be text, not %s", what, kindName(n))
		return ""
	}
	return n.Value
}

func (p *parser) tcpCheck(n *yaml.Node, c *HealthCheck, what string) {
	if !p.boolean(n, what+": tcp") {
		p.fail(n, "%s: tcp: false says nothing: leave the check out", what)
	}
	c.TCP = &crd.TCPCheck{}
}

// policy is what a cluster would be told. It is about the service's port alone: what a user says of
// the service stands beside it.
func (c *HealthCheck) policy(namespace, service string) *crd.BackendTrafficPolicy {
	return &crd.BackendTrafficPolicy{
		TypeMeta:   typeMeta(crd.Group+"/"+crd.Version, crd.BackendTrafficPolicyKind),
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service},
		Spec: crd.BackendTrafficPolicySpec{
			TargetRefs: []crd.TrafficTarget{
				{Kind: crd.TargetService, Name: service, SectionName: servicePortName},
			},
			HealthCheck: &c.HealthCheck,
		},
	}
}

// commands are the checks that are commands, which this process runs: destination tells no proxy of
// one. What they find is told to destination as proxies tell what they find.
type commands struct {
	plane *plane
	log   *slog.Logger
	sets  []*health.Set
	again sync.WaitGroup
	stop  context.CancelFunc

	mu    sync.Mutex // guards found
	found map[found]*api.Health
}

// found is a port of an instance's.
type found struct {
	pod  registry.Name
	port uint32
}

// sayAgain is how often destination is told again, which may have begun anew.
const sayAgain = time.Second

// startCommands runs the commands of all instances until close.
func (s *session) startCommands(context.Context) error {
	c := &commands{plane: s.plane, log: s.log, found: map[found]*api.Health{}}
	s.commands = c
	ctx, cancel := context.WithCancel(context.Background())
	c.stop = cancel
	c.again.Go(func() { c.repeat(ctx) })
	for k := range s.plan.ports.Instances {
		i := &s.plan.ports.Instances[k]
		if check := s.plan.service(i.Service).Check; check != nil && check.Exec != nil {
			if err := c.add(s, i, check); err != nil {
				return fmt.Errorf("check %s: %w", i.Name, err)
			}
		}
	}
	return nil
}

func (c *commands) add(s *session, i *Instance, check *HealthCheck) error {
	program, err := findProgram(check.Exec[0], s.mesh.Dir)
	if err != nil {
		return err
	}
	target, err := i.target()
	if err != nil {
		return err
	}
	port, err := portOf(i.App)
	if err != nil {
		return err
	}
	run := s.command(i, program, check.Exec[1:], port)
	pod := registry.Name{Namespace: s.mesh.Namespace, Name: i.Name}
	set := health.NewSet(health.Options{
		Ask: run, Log: s.log.With("instance", i.Name),
		Say: func(m *api.Health) { c.say(pod, m) },
	})
	c.sets = append(c.sets, set)
	timing, err := health.Compile(check.timing(uint32(target.Port())))
	if err != nil {
		return err
	}
	set.Apply(target.Port(), timing)
	return nil
}

// timing is the check as a proxy would be told of it, but for the command.
func (c *HealthCheck) timing(port uint32) *api.Inbound {
	return &api.Inbound{Port: port, HealthCheck: &api.HealthCheck{
		Check:              &api.HealthCheck_Tcp{Tcp: &api.TCPCheck{}},
		IntervalMs:         uint64(c.IntervalLength().Milliseconds()),
		TimeoutMs:          uint64(c.TimeoutLength().Milliseconds()),
		HealthyThreshold:   *c.HealthyThreshold,
		UnhealthyThreshold: *c.UnhealthyThreshold,
	}}
}

// maxSaid is what of a command's output becomes a reason.
const maxSaid = 200

// command runs an instance's check once. Whatever it has started ends with it.
func (s *session) command(
	i *Instance, program string, args []string, port int,
) func(context.Context) error {
	portText := fmt.Sprint(port)
	fill := strings.NewReplacer("${PORT}", portText, "$PORT", portText)
	argv := []string{}
	for _, arg := range args {
		argv = append(argv, fill.Replace(arg))
	}
	env := append(inherited(), "PORT="+portText, runVariable+"="+s.run.ID)
	w := s.plan.workload(i)
	for _, k := range sortedKeys(w.Env) {
		env = append(env, k+"="+w.Env[k])
	}
	return func(ctx context.Context) error {
		var out bytes.Buffer
		cmd := exec.CommandContext(ctx, program, argv...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.mesh.Dir, env, &out, &out
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		cmd.WaitDelay = killDelay
		err := cmd.Run()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return errors.New("the command took too long")
		}
		text := strings.TrimSpace(out.String())
		return fmt.Errorf("%w: %s", err, text[:min(len(text), maxSaid)])
	}
}

// killDelay is how long the output of a command that was killed may be held open.
const killDelay = 100 * time.Millisecond

func (c *commands) say(pod registry.Name, m *api.Health) {
	c.mu.Lock()
	c.found[found{pod, m.Port}] = m
	c.mu.Unlock()
	c.tell(pod, m)
}

func (c *commands) tell(pod registry.Name, m *api.Health) {
	if err := c.plane.hear(pod, m); err != nil {
		c.log.Error("destination does not take what a check has found", "err", err)
	}
}

// repeat says everything again, so that it goes on to count.
func (c *commands) repeat(ctx context.Context) {
	tick := time.NewTicker(sayAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		for at, m := range c.found {
			c.tell(at.pod, m)
		}
		c.mu.Unlock()
	}
}

// close ends them all.
func (c *commands) close() {
	for _, set := range c.sets {
		set.Stop()
	}
	c.stop()
	c.again.Wait()
}
