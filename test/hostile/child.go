package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/viz"
)

// child is a server of the control plane in a process of its own: its real code over real sockets,
// with the memory that its container has.
type child struct {
	*process
	limit int // of its container, in bytes
	ready childReady
	stdin io.Closer
}

// childReady is what a child says once it listens.
type childReady struct {
	Addresses map[string]string // listener to address
	Roots     string            // PEM; identity's own
	Token     string            // that dev's identity takes
	// Certificates and Keys are PEM that dev's identity has signed for callers, by their names.
	Certificates, Keys map[string]string
}

// source is what a caller of dev proves who it is with.
func (r childReady) source(name string) (*spiffe.Source, error) {
	svid, err := x509svid.Parse([]byte(r.Certificates[name]), []byte(r.Keys[name]))
	if err != nil {
		return nil, err
	}
	return sourceOf(svid, []byte(r.Roots))
}

// places is about how many connections a server holds here. In a cluster it is ten times as many,
// which no attacker on one machine takes; here attackers from one address could, if they were let.
const places = 1000

// cramped are the limits of servers whose memory says how many places they have.
var cramped = map[string]serve.Limits{"identity": identity.ConnectionLimits(),
	"destination": destination.ConnectionLimits(), "viz": viz.ConnectionLimits()}

// cramp takes from a container the memory that would make it too large to be filled.
func cramp(name string, c corev1.Container) (corev1.Container, error) {
	limits, ok := cramped[name]
	if !ok {
		return c, nil
	}
	memory := limits.Memory(places)
	for i, e := range c.Env {
		if e.Name != "GOMEMLIMIT" {
			continue
		}
		was, err := strconv.ParseInt(e.Value, 10, 64)
		if err != nil {
			return c, err
		}
		limit := c.Resources.Limits.Memory().Value() - was + memory
		c.Env[i].Value = strconv.FormatInt(memory, 10)
		most := *resource.NewQuantity(limit, resource.BinarySI)
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: most}
		return c, nil
	}
	return c, fmt.Errorf("the container of %s has no GOMEMLIMIT", name)
}

// containers are the control plane's, by the name that `serve` has for them.
func containers() map[string]corev1.Container {
	all := map[string]corev1.Container{}
	cfg := manifest.Config{
		Injector: injector.Config{Namespace: "tulle", TrustDomain: "cluster.local"},
	}
	for _, object := range manifest.Objects(cfg) {
		if d, ok := object.(*appsv1.Deployment); ok {
			all[strings.TrimPrefix(d.Name, "tulle-")] = d.Spec.Template.Spec.Containers[0]
		}
	}
	return all
}

// startChild runs this program again as a server. Its files are in dir.
func startChild(name, dir string, container corev1.Container) (*child, error) {
	c := &child{limit: int(container.Resources.Limits.Memory().Value())}
	c.process = &process{name: name, ended: make(chan struct{}),
		cmd: exec.Command(os.Args[0], "-serve", name, "-dir", dir)}
	c.cmd.Stderr = &c.log
	// nothing outlives the program
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	for _, e := range container.Env {
		if e.Value != "" {
			c.cmd.Env = append(c.cmd.Env, e.Name+"="+e.Value)
		}
	}
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &c.ready)
	}
	go func() {
		c.cmd.Wait() // how it ended is in its log
		close(c.ended)
	}()
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("start %s: %w: %s", name, err, c.log.String())
	}
	c.admin = c.ready.Addresses["health"]
	return c, nil
}

// peak is the most memory that the process has had since reset, in bytes.
func (c *child) peak() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0 // it has ended, which is told otherwise
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb := strings.TrimSuffix(strings.TrimSpace(rest), "kB")
			n, _ := strconv.Atoi(strings.TrimSpace(kb))
			return n << 10
		}
	}
	return 0
}

// resetPeak: proc_pid_clear_refs(5).
func (c *child) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", c.cmd.Process.Pid), []byte("5"), 0)
}

// proxyContainer is what the injector gives a proxy.
func proxyContainer() (corev1.Container, error) {
	cfg := injector.Config{Namespace: "tulle", TrustDomain: "cluster.local"}
	change, _, err := injector.Plan(cfg, corev1.PodTemplateSpec{}, nil)
	if err != nil {
		return corev1.Container{}, err
	}
	for _, c := range change.InitContainers {
		if c.Name == names.ProxyContainer {
			return c, nil
		}
	}
	return corev1.Container{}, fmt.Errorf("the injector adds no %s", names.ProxyContainer)
}

// unlimited is for what has no container: dev's identity, on somebody's laptop.
func unlimited() corev1.Container {
	return corev1.Container{Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}}
}

func certFile(dir, name string) string { return filepath.Join(dir, name+".crt") }
func keyFile(dir, name string) string  { return filepath.Join(dir, name+".key") }
func rootsFile(dir string) string      { return filepath.Join(dir, "roots.crt") }
