package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of /proc/PID/stat's times (USER_HZ, fixed at 100 on Linux).
const tick = 10 * time.Millisecond

// cpu is what a process and its children (nginx's worker) have used, user and system.
func cpu(pid int) (total time.Duration, err error) {
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			return 0, err
		}
		// After the name, which is in parentheses and may hold anything: state is field 3, utime
		// 14, stime 15.
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		if len(f) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat: %d fields", p, len(f))
		}
		for _, field := range f[11:13] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", p, err)
			}
			total += time.Duration(n) * tick
		}
	}
	return total, nil
}

// tree is a process and its children.
func tree(pid int) []int {
	all := []int{pid}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return all
	}
	for _, f := range strings.Fields(string(b)) {
		if child, err := strconv.Atoi(f); err == nil {
			all = append(all, tree(child)...)
		}
	}
	return all
}

// resident is VmRSS of a process and its children, in MB of 10^6 bytes.
func resident(pid int) (mb float64, err error) {
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			return 0, err
		}
		kb, err := statusField(string(b), "VmRSS:")
		if err != nil {
			return 0, fmt.Errorf("process %d: %w", p, err)
		}
		mb += kb * 1024 / 1e6
	}
	return mb, nil
}

func statusField(status, name string) (v float64, err error) {
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return strconv.ParseFloat(f[1], 64)
		}
	}
	return 0, fmt.Errorf("no %s", name)
}

// calls is how often a process has read and written, by /proc/PID/io. It knows read and write,
// which is what Go uses on sockets, and not recv and send, which the peers use.
func calls(pid int) (n float64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0, err
	}
	for _, name := range []string{"syscr:", "syscw:"} {
		v, err := statusField(string(b), name)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/io: %w", pid, err)
		}
		n += v
	}
	return n, nil
}

// spent is what a chain's processes have used so far.
type spent struct {
	cpu   []time.Duration
	calls []float64
}

func (c *chain) spent() (s spent, err error) {
	for _, p := range c.procs {
		t, err := cpu(p.Process.Pid)
		if err != nil {
			return s, err
		}
		n, err := calls(p.Process.Pid)
		if err != nil {
			return s, err
		}
		s.cpu, s.calls = append(s.cpu, t), append(s.calls, n)
	}
	return s, nil
}
