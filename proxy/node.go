package proxy

import (
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// isNode reports whether an address is the node's that the pod is on. The kubelet calls from one of
// them, but from which is the network plugin's choice: the node's own, or that of the node's end of
// the pod's network, which is where the pod's default route leads. Nobody else can call from
// either, but for the node's own processes: answers would go to the node.
func (p *Proxy) isNode(addr netip.Addr) bool {
	return slices.Contains(p.cfg.NodeIPs, addr) || slices.Contains(p.gateways(), addr)
}

// gateways are where the default routes of this network namespace lead. What cannot be read names
// nobody.
func gateways() []netip.Addr {
	v4, _ := os.ReadFile("/proc/net/route")
	v6, _ := os.ReadFile("/proc/net/ipv6_route")
	return append(gatewaysV4(string(v4)), gatewaysV6(string(v6))...)
}

// gatewaysV4 reads lines of interface, destination, gateway, flags, and four numbers before the
// mask. An address is a number of the machine's, of which all that Go runs Linux on with pods are
// little-endian.
func gatewaysV4(table string) (all []netip.Addr) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		b, err := hex.DecodeString(f[2])
		slices.Reverse(b)
		if addr, ok := netip.AddrFromSlice(b); err == nil && ok && !addr.IsUnspecified() {
			all = append(all, addr)
		}
	}
	return all
}

// gatewaysV6 reads lines of destination, its length, source, its length, and the next hop.
func gatewaysV6(table string) (all []netip.Addr) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 5 || strings.Trim(f[0], "0") != "" || f[1] != "00" {
			continue
		}
		b, err := hex.DecodeString(f[4])
		if addr, ok := netip.AddrFromSlice(b); err == nil && ok && !addr.IsUnspecified() {
			all = append(all, addr)
		}
	}
	return all
}
