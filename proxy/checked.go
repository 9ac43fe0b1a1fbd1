package proxy

import (
	"net"
	"net/netip"
	"strconv"
)

// checkedAddress is where the application behind one of the workload's ports is asked whether it is
// well: where requests reach it, or at another port there.
func (p *Proxy) checkedAddress(port, asked uint16) string {
	host, number := "127.0.0.1", port
	if len(p.cfg.PodIPs) > 0 {
		host = p.cfg.PodIPs[0].String()
	}
	if app, err := netip.ParseAddrPort(p.cfg.Apps[port]); err == nil {
		host, number = app.Addr().String(), app.Port()
	}
	if asked != 0 {
		number = asked
	}
	return net.JoinHostPort(host, strconv.Itoa(int(number)))
}
