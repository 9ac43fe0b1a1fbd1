package dev

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DefaultDir is the state folder's name, in the folder where `meshctl dev` runs.
const DefaultDir = ".mesh"

// What is in the state folder. Nothing else is ever removed from it.
const (
	lockFile    = "lock"
	portsFile   = "ports.json"
	runFile     = "run.json"
	controlFile = "control.sock"
	trustFile   = "trust.pem"

	objectsDir = "objects" // what destination would read from Kubernetes
	logsDir    = "logs"

	objectivesFile = "objectives" // what viz counts for them; .new while it is written anew
)

// errRunning is the answer to a second Up in one folder.
var errRunning = errors.New(
	"a mesh is running here already: end it with 'meshctl dev down', or start this one in " +
		"another folder")

// state is the state folder, held by a lock that the kernel gives back when this process ends,
// however it ends.
type state struct {
	dir  string
	lock *os.File
}

// openState takes the folder, and clears what an Up that was killed left in it.
func openState(dir string) (*state, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	s := &state{dir: dir, lock: lock}
	if err := s.clear(); err != nil {
		s.lock.Close()
		return nil, err
	}
	for _, sub := range []string{objectsDir, logsDir} {
		if err := os.Mkdir(s.path(sub), 0o700); err != nil {
			s.lock.Close()
			return nil, fmt.Errorf("make the state folder: %w", err)
		}
	}
	return s, nil
}

// takeLock returns the locked file, or errRunning. A lock on a file that was removed meanwhile
// keeps no other process out, so the file is opened again then.
func takeLock(path string) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errRunning
			}
			return nil, fmt.Errorf("lock: %w", err)
		}
		if sameFile(f, path) {
			return f, nil
		}
		f.Close()
	}
}

func sameFile(f *os.File, path string) bool {
	held, err1 := f.Stat()
	there, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(held, there)
}

func (s *state) path(name string) string { return filepath.Join(s.dir, name) }

// clear ends processes that an earlier run left, and removes its files; the lock stays.
func (s *state) clear() error {
	var old run
	if err := readJSON(s.path(runFile), &old); err == nil && old.ID != "" {
		if err := sweep(old.ID); err != nil {
			return err
		}
	}
	for _, name := range []string{portsFile, runFile, controlFile, trustFile,
		objectivesFile, objectivesFile + ".new", objectsDir, logsDir} {
		if err := os.RemoveAll(s.path(name)); err != nil {
			return fmt.Errorf("clear the state folder: %w", err)
		}
	}
	return nil
}

// remove clears the folder and gives it up. A folder that holds something of the user's stays.
func (s *state) remove() error {
	err := s.clear()
	os.Remove(s.path(lockFile))
	if rmErr := os.Remove(s.dir); rmErr != nil && !errors.Is(rmErr, unix.ENOTEMPTY) &&
		!errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("remove the state folder: %w", rmErr))
	}
	return errors.Join(err, s.lock.Close())
}

// writeJSON replaces a file at once, so that a reader sees the old text or the new.
func (s *state) writeJSON(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return replaceFile(s.path(name), append(text, '\n'))
}

func replaceFile(path string, text []byte) error {
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func readJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
