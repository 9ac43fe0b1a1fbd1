package dev

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// Waits for what was started to be of use.
const (
	// a certificate and destination's answer, with all proxies starting at once
	proxyReady = 20 * time.Second
	appListens = 10 * time.Second // then Up goes on without it, and says so
)

func (s *session) logPath(name string) string {
	return s.state.path(logsDir) + string(os.PathSeparator) + name + ".log"
}

// startProxies starts them all and waits until each is ready.
func (s *session) startProxies(ctx context.Context) error {
	n := 0
	for k := range s.plan.ports.Instances {
		if i := &s.plan.ports.Instances[k]; i.Mesh != "" {
			n++
			if err := s.startProxy(i); err != nil {
				return err
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, proxyReady)
	defer cancel()
	for k := range s.plan.ports.Instances {
		if i := &s.plan.ports.Instances[k]; i.Mesh != "" {
			if err := s.waitReady(ctx, i); err != nil {
				return err
			}
		}
	}
	s.say("proxies: %d ready", n)
	return nil
}

func (s *session) startProxy(i *Instance) error {
	token, err := s.plane.token(i.ID, i.Name)
	if err != nil {
		return fmt.Errorf("make a join token for %s: %w", i.Name, err)
	}
	name := i.Name + "-proxy"
	p, err := s.super.start(spec{name: name, argv: []string{s.proxy, "run"}, env: s.proxyEnv(i),
		secret: token, log: s.logPath(name)})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proxies[i.Name] = p
	return nil
}

// proxyEnv is a proxy's whole configuration; the token comes over a descriptor.
func (s *session) proxyEnv(i *Instance) []string {
	var upstreams []string
	for callee, addr := range i.Upstreams {
		upstreams = append(upstreams, fmt.Sprintf(
			"%s=%s:%d", addr, host(s.mesh.Namespace, callee), servicePort))
	}
	port, _ := portOf(i.App) // chosen or checked by this package
	ports := &s.plan.ports
	env := map[string]string{
		config.EnvIdentity:          i.ID,
		config.EnvIdentityAddr:      ports.Identity,
		config.EnvIdentityID:        serverID(names.Identity),
		config.EnvDestinationAddr:   ports.Destination,
		config.EnvDestinationID:     serverID(names.Destination),
		config.EnvVizAddr:           ports.Viz,
		config.EnvVizID:             serverID(names.Viz),
		config.EnvTokenFD:           "3",
		config.EnvTrustFile:         s.state.path(trustFile),
		config.EnvPod:               s.mesh.Namespace + "/" + i.Name,
		config.EnvOutboundUpstreams: strings.Join(upstreams, ","),
		config.EnvInboundListen:     i.Mesh,
		config.EnvInboundApps:       fmt.Sprintf("%d=%s", port, i.App),
		config.EnvAdminListen:       i.Admin,
		config.EnvDrainGrace:        "2s", // a Ctrl-C should not take half a minute
		config.EnvLogLevel:          s.LogLevel,
		"GOMAXPROCS":                "1", // what the injector gives it on Kubernetes
	}
	var out []string
	for _, k := range sortedKeys(env) {
		out = append(out, k+"="+env[k])
	}
	return out
}

// waitReady asks a proxy's admin port until it is ready, or it is hopeless.
func (s *session) waitReady(ctx context.Context, i *Instance) error {
	s.mu.Lock()
	p := s.proxies[i.Name]
	s.mu.Unlock()
	reason := "its admin port does not answer"
	for {
		ok, why := ready(ctx, i.Admin)
		if ok {
			return nil
		}
		if why != "" {
			reason = why
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s %s:\n%s", p.name, p.ending(), p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %s. The end of its log:\n%s", p.name, reason,
				p.tail())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func ready(ctx context.Context, admin string) (ok bool, reason string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/ready", nil)
	if err != nil {
		return false, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, ""
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what there is of a reason
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
}

// startApps starts the services' own processes, those that are called before those that call.
func (s *session) startApps(ctx context.Context) error {
	n := 0
	for _, i := range s.plan.startOrder() {
		if len(s.plan.workload(i).Command) == 0 {
			continue
		}
		n++
		if err := s.startApp(ctx, i); err != nil {
			return err
		}
	}
	s.say("services: %d processes started", n)
	return nil
}

// startApp starts an instance's process and, where others call it, waits until it listens.
func (s *session) startApp(ctx context.Context, i *Instance) error {
	sp, err := s.appSpec(i)
	if err != nil {
		return err
	}
	p, err := s.super.start(sp)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.apps[i.Name] = p
	s.mu.Unlock()
	if !s.plan.called(i) {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, appListens)
	defer cancel()
	if listens(wait, i.App, p.done) || ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case <-p.done:
		return fmt.Errorf("%s %s before it listened. The end of its log:\n%s", p.name, p.ending(),
			p.tail())
	default:
	}
	s.say("warning: %s does not listen on %s yet: a service must listen on $PORT (see %s)", i.Name,
		i.App, p.log)
	return nil
}

// appSpec is an instance's process. All it is told is where to listen and where the services are
// that it calls.
func (s *session) appSpec(i *Instance) (spec, error) {
	w := s.plan.workload(i)
	program, err := findProgram(w.Command[0], s.mesh.Dir)
	if err != nil {
		return spec{}, fmt.Errorf("start %s: %w", i.Name, err)
	}
	port, err := portOf(i.App)
	if err != nil {
		return spec{}, err
	}
	portText := fmt.Sprint(port)
	env := []string{"PORT=" + portText}
	for _, callee := range sortedKeys(i.Upstreams) {
		env = append(env, urlVariable(callee)+"=http://"+i.Upstreams[callee])
	}
	for _, k := range sortedKeys(w.Env) {
		env = append(env, k+"="+w.Env[k])
	}
	argv := []string{program}
	fill := strings.NewReplacer("${PORT}", portText, "$PORT", portText)
	for _, arg := range w.Command[1:] {
		argv = append(argv, fill.Replace(arg))
	}
	return spec{name: i.Name, argv: argv, dir: s.mesh.Dir, env: env, log: s.logPath(i.Name)}, nil
}
