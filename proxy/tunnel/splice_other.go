//go:build !linux

package tunnel

import (
	"errors"
	"syscall"
)

const canSplice = false

type (
	pipe  struct{}
	pipes struct{}
)

func (*pipes) get() *pipe { return nil }
func (*pipes) put(*pipe)  {}
func (*pipes) close()     {}

func (*pipe) fill(uintptr) (int, error)        { return 0, errors.ErrUnsupported }
func (*pipe) drain(syscall.RawConn, int) error { return errors.ErrUnsupported }
