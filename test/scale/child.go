package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/test/output"
)

// child is a server in a process of its own. One goroutine may use it.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	to  *json.Encoder
	out *json.Decoder
	log output.Tail
	up  listening
}

// stopTime is how long a server may take to end.
const stopTime = 20 * time.Second

// start runs this program again, as a server.
func start(o orders) (*child, error) {
	c := &child{cmd: exec.Command(os.Args[0], childArg)}
	c.cmd.Stderr = &c.log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives us
	c.cmd.Env = append(environment(o.Server), "GOMAXPROCS=1")
	if o.MemoryLimit != "" {
		c.cmd.Env = append(c.cmd.Env, "GOMEMLIMIT="+o.MemoryLimit)
	}
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", o.Server, err)
	}
	c.to, c.out = json.NewEncoder(c.in), json.NewDecoder(out)
	if err := errors.Join(c.to.Encode(o), c.out.Decode(&c.up)); err != nil {
		c.kill()
		return nil, fmt.Errorf("start %s: %w: %s", o.Server, err, &c.log)
	}
	return c, nil
}

// environment is what the manifest gives a server's container, as far as it is fixed.
func environment(server string) (env []string) {
	cfg := manifest.Config{Injector: injector.Config{Namespace: "tulle",
		TrustDomain: trustDomain.Name()}}
	for _, object := range manifest.Objects(cfg) {
		d, ok := object.(*appsv1.Deployment)
		if !ok || d.Name != "tulle-"+server {
			continue
		}
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if e.Value != "" {
				env = append(env, e.Name+"="+e.Value)
			}
		}
	}
	return env
}

// serverOrders are those of a server with an SVID of this run's CA.
func (r *run) serverOrders(name string) (orders, error) {
	src, err := r.ca.Source("tulle", "tulle-"+name, "tulle-"+name+"-0", time.Hour)
	if err != nil {
		return orders{}, err
	}
	cert, key, err := src.SVID().Marshal()
	if err != nil {
		return orders{}, err
	}
	return orders{Server: name, Listen: "127.0.0.1:0", Cert: string(cert), Key: string(key),
		Roots: pemOf(r.ca.Root()), Profiles: r.profiles, MemoryLimit: r.memoryLimit}, nil
}

// ask has the child do something.
func (c *child) ask(op string, service int) (reply, error) {
	var r reply
	if err := c.to.Encode(command{Op: op, Service: service}); err != nil {
		return r, fmt.Errorf("%s: %w: %s", op, err, &c.log)
	}
	if err := c.out.Decode(&r); err != nil {
		return r, fmt.Errorf("%s: %w: %s", op, err, &c.log)
	}
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// refusals are whom the server has refused, and why, and its memory: what explains an error.
func (c *child) refusals() string {
	r, err := c.ask(opFigures, 0)
	if err != nil {
		return err.Error()
	}
	mb, err := c.resident()
	if err != nil {
		return err.Error()
	}
	out := []string{fmt.Sprintf("%.0f MB resident", mb)}
	for _, name := range slices.Sorted(maps.Keys(r.Figures)) {
		short := strings.TrimPrefix(strings.TrimPrefix(name, "tulle_"), "server_")
		out = append(out, fmt.Sprintf("%s %.0f", short, r.Figures[name]))
	}
	return strings.Join(out, ", ")
}

// stop lets the server end by itself, and kills one that does not.
func (c *child) stop() error {
	closed := c.in.Close()
	hard := time.AfterFunc(stopTime, func() { c.cmd.Process.Kill() })
	defer hard.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("a server ended: %w: %s", err, &c.log)
	}
	return closed
}

// kill is the server's death without a word.
func (c *child) kill() {
	c.cmd.Process.Kill()
	c.cmd.Wait() // killed: its error says nothing
}

// resident is the process's resident memory, in MB of 2^20 bytes.
func (c *child) resident() (float64, error) { return c.status("VmRSS:") }

// kept is memory in MB, once the server has given back its garbage.
type kept struct{ live, resident float64 }

func (c *child) kept() (k kept, err error) {
	if _, err := c.ask(opCollect, 0); err != nil {
		return k, err
	}
	r, err := c.ask(opFigures, 0)
	if err != nil {
		return k, err
	}
	k.live = r.Figures[liveHeap]
	k.resident, err = c.resident()
	return k, err
}

// peak is the most that it has had.
func (c *child) peak() (float64, error) { return c.status("VmHWM:") }

func (c *child) status(name string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			kib, err := strconv.ParseFloat(f[1], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no %s", c.cmd.Process.Pid, name)
}

// tick is the unit of /proc/PID/stat's times (USER_HZ, fixed at 100 on Linux).
const tick = 10 * time.Millisecond

// cpu is what the process has used, user and system.
func (c *child) cpu() (total time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// after the name, which is in parentheses: state is field 3, utime 14, stime 15
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", c.cmd.Process.Pid, len(f))
	}
	for _, field := range f[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", c.cmd.Process.Pid, err)
		}
		total += time.Duration(n) * tick
	}
	return total, nil
}
