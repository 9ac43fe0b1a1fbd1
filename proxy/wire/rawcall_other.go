//go:build !linux || race

package wire

import "syscall"

// The race detector learns from these that what happened before a write happened before the read of
// it.

func readSocket(fd uintptr, p []byte) (int, error)  { return syscall.Read(int(fd), p) }
func writeSocket(fd uintptr, p []byte) (int, error) { return syscall.Write(int(fd), p) }
