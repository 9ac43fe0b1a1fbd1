package dev

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
	testports "github.com/tulle-mesh/tulle/test/loopback"
)

// The test binary is also the processes that the tests start.
func TestMain(m *testing.M) {
	switch os.Getenv("DEV_TEST_ROLE") {
	case "supervise":
		superviseForever()
	case "serve":
		serveForever()
	}
	dir, err := os.MkdirTemp("", "dev-test-")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	os.Setenv("DEV_TEST_BIN", dir)
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// superviseForever is an Up that will be killed: it starts a shell that starts a sleeper, says so,
// and waits.
func superviseForever() {
	os.Unsetenv("DEV_TEST_ROLE")
	st, err := openState(os.Args[1])
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	r := newRun()
	if err := st.writeJSON(runFile, r); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	argv := []string{"sh", "-c", "sleep 1000 & echo started; wait"}
	_, err = newSupervisor(r).start(spec{name: "sh", argv: argv, log: st.path("log")})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("run", r.ID)
	for {
		time.Sleep(time.Hour)
		// the garbage collector would close its lock, and give the folder away
		runtime.KeepAlive(st)
	}
}

func testSupervisor(t *testing.T) *supervisor {
	t.Helper()
	s := newSupervisor(newRun())
	t.Cleanup(func() { closeSupervisor(t, s) })
	return s
}

func closeSupervisor(t *testing.T, s *supervisor) {
	t.Helper()
	await.Return(t, "the supervisor's end", func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
}

func shell(t *testing.T, s *supervisor, script string) *process {
	t.Helper()
	p, err := s.start(spec{name: "sh", argv: []string{"sh", "-c", script},
		log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ended(t *testing.T, p *process) {
	t.Helper()
	await.Receive(t, fmt.Sprintf("the end of process %d", p.cmd.Process.Pid), p.done)
}

func TestProcessCrash(t *testing.T) {
	s := testSupervisor(t)
	p := shell(t, s, "seq 1 100; echo oh no >&2; exit 7")
	if got := await.Receive(t, "a notice of the exit", s.exited); got != p {
		t.Fatalf("%s exited, want %s", got.name, p.name)
	}
	if got := p.ending(); got != "ended with status 7" {
		t.Errorf("ending %q", got)
	}
	tail := p.tail()
	if !strings.HasSuffix(tail, "    100\n    oh no") || strings.Count(tail, "\n") != tailLines-1 {
		t.Errorf("tail:\n%s", tail)
	}
}

func TestProcessSecret(t *testing.T) {
	s := testSupervisor(t)
	log := filepath.Join(t.TempDir(), "log")
	p, err := s.start(spec{name: "sh", argv: []string{"sh", "-c", "cat <&3"}, secret: "s3cret",
		log: log})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, p)
	if text, _ := os.ReadFile(log); string(text) != "s3cret" {
		t.Errorf("the child read %q", text)
	}
}

func TestProcessStartFails(t *testing.T) {
	s := testSupervisor(t)
	_, err := s.start(spec{name: "web-0", argv: []string{"/nonexistent/program"},
		log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "start web-0") {
		t.Errorf("start: %v", err)
	}
}

// A process that ignores SIGTERM is killed after the grace, and what it started goes with it.
func TestStop(t *testing.T) {
	s := testSupervisor(t)
	polite := shell(t, s, "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done")
	stubborn := shell(t, s, "trap '' TERM; sleep 1000 & echo ready; while :; do sleep 0.01; done")
	waitForReady(t, polite)
	waitForReady(t, stubborn)
	await.Return(t, "the end of both", func() {
		stop([]*process{polite, stubborn}, time.Second)
	})
	if polite.err != nil {
		t.Errorf("polite: %v", polite.err)
	}
	if got := stubborn.ending(); got != "ended: signal: killed" {
		t.Errorf("stubborn %s", got)
	}
}

// pause leaves the processors to what is waited for, which there is nothing to wait on for: it
// happens in another process.
func pause() { time.Sleep(5 * time.Millisecond) }

// waitForReady waits until a process has said that its traps are set.
func waitForReady(t *testing.T, p *process) {
	t.Helper()
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); pause() {
		if strings.Contains(p.tail(), "ready") {
			return
		}
	}
	t.Fatalf("%s does not get ready", p.name)
}

// waitForMarked waits until a run has so many processes.
func waitForMarked(t *testing.T, id string, n int) {
	t.Helper()
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); pause() {
		if pids, err := marked(id); err != nil {
			t.Fatal(err)
		} else if len(pids) >= n {
			return
		}
	}
	t.Fatalf("the run has not %d processes", n)
}

// close finds what left its group too.
func TestCloseSweeps(t *testing.T) {
	s := newSupervisor(newRun())
	p := shell(t, s, "setsid sleep 1000 & exit 0")
	ended(t, p)
	waitForMarked(t, s.run.ID, 1)
	closeSupervisor(t, s)
	if pids, _ := marked(s.run.ID); len(pids) > 0 {
		t.Errorf("left behind: %v", pids)
	}
}

// elsewhere is a process that holds a folder and has a run of its own.
type elsewhere struct {
	id    string // of the run
	pid   int
	ended chan struct{} // closed when it has been waited for
}

// superviseElsewhere starts one, and kills it at the test's end if the test has not.
func superviseElsewhere(t *testing.T, dir string) *elsewhere {
	t.Helper()
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), "DEV_TEST_ROLE=supervise")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	cmd.Stdout = w // a file: nobody waits for who else holds it
	err = cmd.Start()
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	e := &elsewhere{pid: cmd.Process.Pid, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		cmd.Wait() // killed, all of them
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		await.Receive(t, "the end of the other supervisor", e.ended)
	})
	r.SetReadDeadline(time.Now().Add(await.Limit))
	line, err := bufio.NewReader(r).ReadString('\n')
	id, ok := strings.CutPrefix(strings.TrimSpace(line), "run ")
	if !ok {
		t.Fatalf("the supervisor said %q, %v", line, err)
	}
	e.id = id
	waitForMarked(t, id, 2)
	return e
}

// A restart that comes too late starts nothing, and breaks nothing.
func TestStartAfterClose(t *testing.T) {
	s := newSupervisor(newRun())
	closeSupervisor(t, s)
	_, err := s.start(spec{name: "late", argv: []string{"sh", "-c", "sleep 1000"},
		log: filepath.Join(t.TempDir(), "log")})
	if err == nil || !strings.Contains(err.Error(), "the mesh is ending") {
		t.Errorf("start after close: %v", err)
	}
}

// When Up is killed its children die with it, and the next one in the folder sweeps what those had
// started.
func TestKilledSupervisorLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".mesh")
	other := superviseElsewhere(t, dir)
	if _, err := openState(dir); err == nil || !strings.Contains(err.Error(), "meshctl dev down") {
		t.Errorf("a second Up in the folder: %v", err)
	}
	shellPID := shellOf(t, other.pid)
	if err := syscall.Kill(other.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await.Receive(t, "the end of the killed supervisor", other.ended)
	waitGone(t, shellPID)
	st, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pids, _ := marked(other.id); len(pids) > 0 {
		t.Errorf("left behind: %v", pids)
	}
	os.Remove(st.path("log"))
	if err := st.remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the state folder is still there: %v", err)
	}
}

// shellOf is the one child of a process.
func shellOf(t *testing.T, pid int) int {
	t.Helper()
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		if child, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return child
		}
	}
	t.Fatalf("process %d has no child", pid)
	return 0
}

// waitGone waits until the kernel has delivered Pdeathsig; an orphan may stay a zombie where nobody
// reaps.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(await.Limit); time.Now().Before(deadline); pause() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(text), ") Z ") {
			return
		}
	}
	t.Fatalf("process %d outlived its supervisor", pid)
}

// What the user put into the folder stays.
func TestStateKeepsForeignFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), ".mesh")
	st, err := openState(dir)
	if err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := st.remove(); err != nil {
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != "notes.txt" {
		t.Errorf("left %v, want notes.txt only", entries)
	}
}

func TestAllocator(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := newAllocator([]int{firstPort + 7})
	defer a.close()
	a.next, a.end = firstPort+6, firstPort+portBlock
	seen := map[string]bool{loopback(firstPort + 7): true}
	for range 100 {
		addr, err := a.address()
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			t.Errorf("%s given twice, or reserved", addr)
		}
		seen[addr] = true
	}
}

// Two meshes that choose at the same moment, before the processes of either listen, share no port,
// also when they need more than a block; what they give back is another's to choose.
func TestAllocatorsShareNoPort(t *testing.T) {
	seen := map[string]bool{}
	a, b := newAllocator(nil), newAllocator(nil)
	defer a.close()
	defer b.close()
	for range 2 * portBlock {
		for _, mesh := range []*allocator{a, b} {
			addr, err := mesh.address()
			if err != nil {
				t.Fatal(err)
			}
			if seen[addr] {
				t.Fatalf("%s was chosen twice", addr)
			}
			seen[addr] = true
		}
	}
	held := a.blocks[0].Addr().String()
	a.close()
	l, err := net.Listen("unix", held)
	if err != nil {
		t.Fatalf("a block is not given back: %v", err)
	}
	l.Close()
}

// Tests that run beside a mesh never take a port from it between its choice and its use.
func TestAllocatorSharesNoPortWithTests(t *testing.T) {
	for range 100 {
		port, err := portOf(testports.Free())
		if err != nil {
			t.Fatal(err)
		}
		if port >= firstPort && port < lastPort {
			t.Fatalf("tests use port %d, which a mesh may choose", port)
		}
	}
}
