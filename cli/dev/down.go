package dev

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// downGrace is how long Down waits for Up to end everything.
	downGrace = 30 * time.Second
	// downPoll is how often it looks: the lock of another process is all there is to see.
	downPoll = 50 * time.Millisecond
)

// Down ends the mesh that runs in a state folder and returns when it is gone; said is what it did.
// Without one it clears what a killed Up left, and that is no error.
func Down(ctx context.Context, dir string) (said string, err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return "no mesh runs here", nil
	}
	ctx, cancel := context.WithTimeout(ctx, downGrace)
	defer cancel()
	signalled := 0
	for {
		lock, err := takeLock(filepath.Join(dir, lockFile))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return downSaid(signalled), nil // Up removed its folder
		case err == nil:
			return downSaid(signalled), (&state{dir: dir, lock: lock}).remove()
		case !errors.Is(err, errRunning):
			return "", err
		}
		if signalled == 0 {
			if signalled, err = signalUp(dir); err != nil {
				return "", err
			}
		}
		select {
		case <-ctx.Done():
			return "", fmt.Errorf("'meshctl dev up' (process %d) does not end: %w", signalled,
				context.Cause(ctx))
		case <-time.After(downPoll):
		}
	}
}

// signalUp asks the Up that holds the folder to end, and returns its process id; 0: it has not said
// yet which one it is.
func signalUp(dir string) (int, error) {
	var r run
	err := readJSON(filepath.Join(dir, runFile), &r)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if r.PID <= 0 {
		return 0, fmt.Errorf("%s names no process", filepath.Join(dir, runFile))
	}
	if err := syscall.Kill(r.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return 0, fmt.Errorf("end 'meshctl dev up' (process %d): %w", r.PID, err)
	}
	return r.PID, nil
}

func downSaid(signalled int) string {
	if signalled > 0 {
		return "the mesh is down"
	}
	return "no mesh ran here; cleared what was left"
}
