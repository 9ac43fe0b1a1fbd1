package dev

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// runVariable is in the environment of every process of a run, and of all that they start. sweep
// finds them by it: a process id may belong to another process by then.
const runVariable = "TULLE_DEV_RUN"

// run is what run.json says about this run.
type run struct {
	ID  string `json:"id"`
	PID int    `json:"pid"` // of Up
}

func newRun() run {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand aborts the program instead
	return run{ID: hex.EncodeToString(b[:]), PID: os.Getpid()}
}

// sweepPasses bounds how often sweep looks again: a process may fork while it looks. It ends after
// cleanPasses that found nothing: a process in the middle of an exec shows no environment for a
// moment.
const (
	sweepPasses = 50
	cleanPasses = 2
)

// sweep kills every process that carries a run's mark, and returns when none is left.
func sweep(id string) error {
	clean := 0
	for range sweepPasses {
		pids, err := marked(id)
		if err != nil {
			return err
		}
		if clean++; len(pids) > 0 {
			clean = 0
		} else if clean == cleanPasses {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("end process %d of an earlier run: %w", pid, err)
			}
		}
		// the kernel needs a moment to tear them down; there is nothing to wait on for another's
		// child
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("processes of an earlier run do not end: see 'ps aux' and end them by hand")
}

// marked lists the processes of a run. A zombie has no environment left, so it does not count.
func marked(id string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	mark := []byte(runVariable + "=" + id)
	var pids []int
	for _, dir := range dirs {
		env, err := os.ReadFile(dir + "/environ")
		if err != nil {
			continue // it ended, or is not ours
		}
		for _, entry := range bytes.Split(env, []byte{0}) {
			if !bytes.Equal(entry, mark) {
				continue
			}
			if pid, err := strconv.Atoi(strings.TrimPrefix(dir, "/proc/")); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}
