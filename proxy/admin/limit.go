package admin

import (
	"net"
	"net/netip"
	"sync"
)

const (
	maxConns        = 256 // 4 MB of goroutines and buffers at the very worst
	maxConnsPerPeer = 16  // one pod that holds connections must not keep the kubelet's probes out
)

// limiter closes connections beyond the limits as soon as they are accepted: waiting in the backlog would keep everybody
// else waiting too.
type limiter struct {
	net.Listener
	mu    sync.Mutex // guards what follows
	total int
	by    map[netip.Addr]int
}

func newLimiter(l net.Listener) *limiter { return &limiter{Listener: l, by: map[netip.Addr]int{}} }

func (l *limiter) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := addrOf(nc)
		if l.enter(peer) {
			return &limited{Conn: nc, leave: sync.OnceFunc(func() { l.leave(peer) })}, nil
		}
		nc.Close()
	}
}

// addrOf is the peer without its port.
func addrOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

func (l *limiter) enter(peer netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.by[peer] >= maxConnsPerPeer {
		return false
	}
	l.total++
	l.by[peer]++
	return true
}

func (l *limiter) leave(peer netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.by[peer]--; l.by[peer] == 0 {
		delete(l.by, peer)
	}
}

type limited struct {
	net.Conn
	leave func()
}

func (c *limited) Close() error {
	c.leave()
	return c.Conn.Close()
}
