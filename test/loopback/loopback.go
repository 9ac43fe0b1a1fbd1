// Package loopback finds addresses for what tests start.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports that are found are below those that the kernel gives to outgoing connections: one of them
// could take a port before it is listened on. They are below those of `meshctl dev` too, which has
// its own way to find ports: a block's listener, which nobody accepts from, would take the place of
// a service that is about to listen, and its callers would wait for ever.
const (
	first = 11000
	ports = 9000
	// A process takes ports of blocks that are its own: it listens on a block's first port for as
	// long as it lives. Two processes that look for ports at the same time never find the same one.
	blockSize = 200
	blocks    = ports / blockSize
)

var (
	mu    sync.Mutex // guards what follows
	held  []net.Listener
	block int // the present one's first port
	used  = blockSize
)

// Free is a loopback address that nobody has, and that nobody else is given.
func Free() string {
	mu.Lock()
	defer mu.Unlock()
	for {
		if used++; used >= blockSize {
			takeBlockLocked()
		}
		addr := fmt.Sprintf("127.0.0.1:%d", block+used)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

// takeBlockLocked makes a block this process's own. A process that has used up all of them, or
// finds none, uses the ports of its own again: what listened on them has mostly ended.
func takeBlockLocked() {
	start := rand.IntN(blocks)
	for i := range blocks {
		port := first + (start+i)%blocks*blockSize
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			held = append(held, l)
			block, used = port, 1
			return
		}
	}
	if len(held) == 0 {
		panic("loopback: other processes hold all ports of tests")
	}
	block, used = held[0].Addr().(*net.TCPAddr).Port, 1
	held = append(held[1:], held[0])
}
