package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/loopback"
)

// listenWithin is how long a server may take to start on a busy machine.
const listenWithin = 30 * time.Second

// startProcess runs a server until the mesh stops, and waits until it listens.
func (m *mesh) startProcess(ctx context.Context, addr, program string, args ...string) error {
	log, err := os.Create(filepath.Join(m.dir, filepath.Base(program)+"-"+addr+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	exited := make(chan struct{})
	go func() {
		cmd.Wait() // its log says more
		close(exited)
	}()
	m.closers = append(m.closers, func() error {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-exited
		return nil
	})
	const pause = 20 * time.Millisecond
	until := time.Now().Add(listenWithin)
	for ; time.Now().Before(until) && ctx.Err() == nil && !closed(exited); time.Sleep(pause) {
		if c, err := net.Dial("tcp", addr); err == nil {
			return c.Close()
		}
	}
	text, _ := os.ReadFile(log.Name()) // what there is of a reason
	return fmt.Errorf("%s does not listen on %s:\n%s", program, addr, text)
}

// placeProcess finds an address for a server that cannot choose one and say so, and runs it there.
// Another process may be faster to take a free port, so it tries a few.
func (m *mesh) placeProcess(
	ctx context.Context, program string, args func(addr string) ([]string, error),
) (addr string, err error) {
	for range 3 {
		addr = loopback.Free()
		list, argErr := args(addr)
		if argErr != nil {
			return "", argErr
		}
		if err = m.startProcess(ctx, addr, program, list...); err == nil {
			return addr, nil
		}
	}
	return "", err
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr) // from our own listeners
	return port
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
