package dev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// spec is a process to be started.
type spec struct {
	name   string
	argv   []string
	dir    string
	env    []string // added to this process's own
	secret string   // read by the child from descriptor 3, once
	log    string   // file for its output
}

// process is a started one, the leader of its own group: a Ctrl-C on the terminal reaches Up only,
// which ends them in order.
type process struct {
	spec
	cmd  *exec.Cmd
	done chan struct{} // closed when it has been waited for
	err  error         // how it ended; read after done
}

// supervisor starts processes and sees them end. Its starter goroutine holds one OS thread for
// good: the kernel sends Pdeathsig when the thread that forked dies, not the process
// (go.dev/issue/27505).
type supervisor struct {
	run    run
	starts chan func()
	exited chan *process // one for each process, in the order they end

	mu        sync.Mutex // guards the two below
	processes []*process
	closed    bool
	waiters   sync.WaitGroup
}

// maxProcesses bounds the exit notices, so that none ever blocks: two for every instance.
const maxProcesses = 2 * maxServices * maxReplicas

func newSupervisor(r run) *supervisor {
	s := &supervisor{run: r, starts: make(chan func()), exited: make(chan *process, maxProcesses)}
	go s.starter()
	return s
}

func (s *supervisor) starter() {
	// never unlocked: the thread ends with the goroutine, after the last child
	runtime.LockOSThread()
	for start := range s.starts {
		start()
	}
}

// start runs a process in a group of its own.
func (s *supervisor) start(sp spec) (*process, error) {
	log, err := os.OpenFile(sp.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", sp.name, err)
	}
	defer log.Close()
	p := &process{spec: sp, cmd: exec.Command(sp.argv[0], sp.argv[1:]...),
		done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = sp.dir, log, log
	p.cmd.Env = append(append(inherited(), sp.env...), runVariable+"="+s.run.ID)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	s.mu.Lock() // until it is among the processes: close must find it, or refuse it
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("start %s: the mesh is ending", sp.name)
	}
	if err := s.launch(p); err != nil {
		return nil, fmt.Errorf("start %s: %w", sp.name, err)
	}
	s.processes = append(s.processes, p)
	s.waiters.Go(func() {
		p.err = p.cmd.Wait()
		close(p.done)
		s.exited <- p
	})
	return p, nil
}

// inherited is this process's environment without what would configure a proxy: each is told
// everything it needs.
func inherited() []string {
	return slices.DeleteFunc(os.Environ(), func(entry string) bool {
		return strings.HasPrefix(entry, "TULLE_")
	})
}

func (s *supervisor) launch(p *process) error {
	var in *os.File
	if p.secret != "" {
		r, err := secretPipe(p.secret)
		if err != nil {
			return err
		}
		in = r
		p.cmd.ExtraFiles = []*os.File{r} // the child's descriptor 3
		defer in.Close()
	}
	result := make(chan error)
	s.starts <- func() { result <- p.cmd.Start() }
	return <-result
}

// secretPipe is a pipe that holds a secret already: it is in no file, argument or environment that
// others could read.
func secretPipe(secret string) (*os.File, error) {
	if len(secret) > 4096 {
		// PIPE_BUF: the write below never blocks
		return nil, errors.New("a secret longer than a pipe surely holds")
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if _, err := io.WriteString(w, secret); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// signal reaches the process and what it started. Once it has been waited for, its id may be
// another's: sweep ends what it left.
func (p *process) signal(sig syscall.Signal) {
	select {
	case <-p.done:
	default:
		// ESRCH is all that can go wrong, and means it has just ended.
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	}
}

// stop ends processes politely, and after the grace for sure; it returns when they have ended.
func stop(processes []*process, grace time.Duration) {
	for _, p := range processes {
		p.signal(syscall.SIGTERM)
	}
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	expired := false
	for _, p := range processes {
		if !expired {
			select {
			case <-p.done:
				continue
			case <-deadline.C:
				expired = true
			}
		}
		p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// close ends every process left and all that they started, and returns when the last is gone.
// Nothing starts any more.
func (s *supervisor) close() error {
	s.mu.Lock()
	left := s.processes
	s.closed = true
	s.mu.Unlock()
	stop(left, 0)
	s.waiters.Wait()
	close(s.exited)
	close(s.starts)
	return sweep(s.run.ID)
}

// tailLines is how much of a log a report shows: enough for a panic's head.
const (
	tailLines = 15
	tailBytes = 8 << 10
)

// tail is the end of a process's log, indented.
func (p *process) tail() string {
	f, err := os.Open(p.log)
	if err != nil {
		return "    (no log: " + err.Error() + ")"
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > tailBytes {
		f.Seek(-tailBytes, io.SeekEnd)
	}
	text, err := io.ReadAll(io.LimitReader(f, tailBytes))
	if err != nil || len(bytes.TrimSpace(text)) == 0 {
		return "    (it wrote nothing)"
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "    " + strings.Join(lines, "\n    ")
}

// ending says in words how a process ended.
func (p *process) ending() string {
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return "ended with status 0"
	case errors.As(p.err, &exit) && exit.Exited():
		return fmt.Sprintf("ended with status %d", exit.ExitCode())
	}
	return "ended: " + p.err.Error()
}
