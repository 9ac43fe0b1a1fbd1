package dev

import (
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
	// A mesh chooses ports of blocks that are its own, so that two meshes on one machine never
	// choose the same port while neither's processes listen yet.
	portBlock = 50
)

// allocator hands out loopback addresses, none of them twice. close gives its blocks back.
type allocator struct {
	next, end int // of the block in use
	taken     map[int]bool
	blocks    []net.Listener // what makes them this allocator's
}

func newAllocator(reserved []int) *allocator {
	a := &allocator{taken: map[int]bool{}}
	for _, port := range reserved {
		a.taken[port] = true
	}
	return a
}

// address is a loopback address that nobody listens on.
func (a *allocator) address() (string, error) {
	for {
		if a.next == a.end {
			if err := a.takeBlock(); err != nil {
				return "", err
			}
		}
		port := a.next
		a.next++
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
}

// takeBlock goes on with a block that no allocator has. Who has one holds its name among the
// abstract sockets (unix(7)): like a port it is taken once in a network namespace, and free when
// its process has ended, however it ended.
func (a *allocator) takeBlock() error {
	const blocks = (lastPort - firstPort) / portBlock
	start := rand.IntN(blocks)
	for i := range blocks {
		first := firstPort + (start+i)%blocks*portBlock
		l, err := net.Listen("unix", fmt.Sprintf("@tulle-dev-ports-%d", first))
		if err == nil {
			a.blocks = append(a.blocks, l)
			a.next, a.end = first, first+portBlock
			return nil
		}
	}
	return fmt.Errorf("no free port on 127.0.0.1 from %d to %d", firstPort, lastPort)
}

func (a *allocator) close() {
	for _, l := range a.blocks {
		l.Close()
	}
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
