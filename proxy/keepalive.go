package proxy

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
)

// keepAliveProbes are sent to a peer that is silent, within Limits.PeerTimeout.
const keepAliveProbes = 6

// newDialer makes connections whose peers may not vanish unnoticed while nothing is sent to them.
func newDialer(l *config.Limits) *net.Dialer {
	every := l.PeerTimeout / keepAliveProbes
	return &net.Dialer{Timeout: l.DialOutside, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: every, Interval: every, Count: keepAliveProbes - 1}}
}

// dialPlain connects for HTTP in plaintext, which has no word for "are you there".
func (p *Proxy) dialPlain(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := p.dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if onLoopback(nc) {
		return nc, nil // the pod's own application does not vanish without its kernel's word
	}
	if err := boundSilence(nc, p.limits.UnackedTimeout); err != nil {
		nc.Close()
		return nil, fmt.Errorf("bound the silence of %s: %w", addr, err)
	}
	return nc, nil
}

// connectControl connects to a server of the control plane.
func (p *Proxy) connectControl(ctx context.Context, addr string) (net.Conn, error) {
	nc, err := p.dialFirst(ctx, addr)
	if err != nil {
		return nil, err
	}
	if err := boundSilence(nc, p.limits.UnackedControl); err != nil {
		nc.Close()
		return nil, fmt.Errorf("bound the silence of %s: %w", addr, err)
	}
	return nc, nil
}

// dialFirst dials the addresses of a name in turn. The name is looked up before, for DNS may take
// longer than a dial. HTTP/2's PINGs keep the connection alive: with a user timeout, TCP's own
// probes would end it if one of them is lost (tcp(7)).
func (p *Proxy) dialFirst(ctx context.Context, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	lookup, cancel := context.WithTimeout(ctx, p.limits.DialOutside)
	defer cancel()
	all, err := net.DefaultResolver.LookupHost(lookup, host)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: p.limits.DialControl, KeepAlive: -1}
	var nc net.Conn
	for _, ip := range all {
		if nc, err = d.DialContext(ctx, "tcp", net.JoinHostPort(ip, port)); err == nil {
			return nc, nil
		}
	}
	return nil, err
}

func onLoopback(nc net.Conn) bool {
	a, ok := nc.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// boundSilence ends a connection of which the kernel has had no acknowledgement for d, though it
// has sent something. It takes a window that stays closed for silence as well.
func boundSilence(nc net.Conn, d time.Duration) error {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) { set = setUserTimeout(int(fd), d) })
	if err == nil {
		err = set
	}
	return err
}
