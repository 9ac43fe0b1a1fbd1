// Package redirect sends a pod's TCP traffic through its proxy, and says where a redirected
// connection wanted to go.
//
// Apply writes one nftables table named "tulle" for IPv4 and one for IPv6, over netlink, in one
// transaction: running it again replaces the rules with no moment in between without them, and
// connections that are open keep their mapping. It runs in the pod's network namespace, as root
// with NET_ADMIN and nothing else; no binary is called.
//
//	prerouting   TCP to ports on which nobody listens is refused;
//	             TCP to the skipped inbound ports is left alone;
//	             everything else goes to the inbound port
//	output       what the proxy's uid sends, what stays on the loopback interface,
//	             and TCP to the skipped outbound ports is left alone;
//	             everything else goes to the outbound port
//
// So a call to 127.0.0.1, ::1 or the pod's own address is never redirected, and one to the pod's
// own Service is, since its address routes out of the pod. In prerouting the kernel redirects to
// the first address of the interface the packet came in on; in output to 127.0.0.1 or ::1. Both
// keep the original destination in conntrack, where OriginalDst reads it.
//
// Packets that conntrack calls invalid (outside of a connection's window) are dropped, except on
// loopback: they would not be translated, reach a port whose kernel knows no such connection, and
// be answered by a RST that ends a healthy one. kube-proxy does the same on the node.
//
// A connection to a port on which nobody in the pod listens is refused by the kernel, as it is
// without a proxy. The proxy could accept it and reset it, but a probe that only connects would
// take that for success. Kernels before Linux 5.9 and those without nft_socket do not refuse: there
// the proxy resets what it has accepted.
//
// UDP is never touched, so DNS over UDP is not either. DNS over TCP goes through the proxy as any
// TCP does: port 53 comes out as opaque, or can be put into the skipped ports. Connections that are
// older than the rules are redirected with their next packet and therefore reset: the rules belong
// before the first container that talks.
//
// It refuses kernels without nf_tables' NAT and says which modules are missing; it writes no legacy
// iptables rules. The package starts no goroutines.
package redirect
