// Package openfiles raises the limit of open files of programs that hold thousands of connections.
// It has no goroutines.
package openfiles

import "syscall"

// Raise allows as many open files as there may be, here and in the children that are started from
// now on, and enough of them where this process may say so. It returns how many there may be.
func Raise(enough uint64) (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	more := max(limit.Max, enough)
	raised := syscall.Rlimit{Cur: more, Max: more}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised); err == nil {
		return more, nil
	}
	limit.Cur = limit.Max
	return limit.Cur, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}
