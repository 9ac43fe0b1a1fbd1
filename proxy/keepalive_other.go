//go:build !linux

package proxy

import "time"

// setUserTimeout is Linux's alone; elsewhere, on a developer's machine, the kernel's own
// retransmissions have to end.
func setUserTimeout(int, time.Duration) error { return nil }
