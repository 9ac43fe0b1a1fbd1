// Package loopback finds addresses for what tests start.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
)

// Ports that are found are below those that the kernel gives to outgoing connections: one of them could take a port before
// it is listened on.
const (
	first = 20000
	ports = 12000
)

// A process begins anywhere and goes on from there: it asks for several addresses before it listens on them, and none may
// come twice.
var (
	start = rand.Uint32N(ports)
	found atomic.Uint32
)

// Free is a loopback address that nobody has.
func Free() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", first+(start+found.Add(1))%ports)
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}
