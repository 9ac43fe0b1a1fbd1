package admin

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxConns bounds the connections of all peers together, which take 1 MB at the very worst.
	maxConns = 256
	// maxConnsPerPeer bounds the connections of one peer: a pod that holds connections must not
	// keep the kubelet's probes out.
	maxConnsPerPeer = 16
)

// limiter counts connections. Those beyond the limits are closed as soon as they are accepted: if
// they waited in the backlog, everybody behind them would wait too.
type limiter struct {
	mu    sync.Mutex // guards what follows
	total int
	by    map[netip.Addr]int
}

// addrOf is the peer without its port.
func addrOf(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// enter takes a place for peer. It reports false if there is none.
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
