package dev

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are chosen below Linux's ephemeral range (32768 and up): a port that was free when it was
// chosen is then never taken by an outgoing connection before the process that was told of it
// listens.
const (
	firstPort = 20000
	lastPort  = 32000
)

// allocator hands out loopback addresses, none of them twice.
type allocator struct {
	next  int
	taken map[int]bool
}

// newAllocator starts somewhere else each time, so that two meshes on one machine rarely try the
// same ports.
func newAllocator(reserved []int) *allocator {
	a := &allocator{next: firstPort + rand.IntN(lastPort-firstPort), taken: map[int]bool{}}
	for _, port := range reserved {
		a.taken[port] = true
	}
	return a
}

// address is a loopback address that nobody listens on.
func (a *allocator) address() (string, error) {
	for range lastPort - firstPort {
		port := a.next
		if a.next++; a.next >= lastPort {
			a.next = firstPort
		}
		if a.taken[port] {
			continue
		}
		addr := loopback(port)
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		a.taken[port] = true
		return addr, nil
	}
	return "", errors.New("no free port on 127.0.0.1 from " + strconv.Itoa(
		firstPort) + " to " + strconv.Itoa(lastPort))
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// portOf is the port of an address that this package made or checked.
func portOf(addr string) (int, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, fmt.Errorf("port of %q: %w", addr, err)
	}
	return strconv.Atoi(port)
}
