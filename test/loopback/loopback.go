// Package loopback finds addresses for what tests start.
package loopback

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Free is a loopback address that nobody has. Its port is below those that the kernel gives to outgoing connections: one of
// them could take it before it is listened on.
func Free() string {
	for {
		addr := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}
