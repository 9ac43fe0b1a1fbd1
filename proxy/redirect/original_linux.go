package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ip6OriginalDst is IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h. x/sys names only the
// option of IPv4, which has the same number.
const ip6OriginalDst = unix.SO_ORIGINAL_DST

// OriginalDst is the address that the peer of an accepted connection dialed. If the connection was
// not redirected that is this socket's own. If conntrack is not at work at all, it is
// ErrNotRedirected.
func OriginalDst(conn *net.TCPConn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	// A dual-stack listener's IPv4 connections are IPv6 sockets with mapped addresses; conntrack
	// has them as IPv4.
	ask := original6
	if local, ok := conn.LocalAddr().(*net.TCPAddr); ok && local.AddrPort().Addr().Unmap().Is4() {
		ask = original4
	}
	var dst netip.AddrPort
	var askErr error
	if err := raw.Control(func(fd uintptr) { dst, askErr = ask(int(fd)) }); err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	if errors.Is(askErr, unix.ENOENT) || errors.Is(askErr, unix.ENOPROTOOPT) {
		return netip.AddrPort{}, ErrNotRedirected
	}
	if askErr != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", askErr)
	}
	return dst, nil
}

// original4 reads a sockaddr_in, of 16 bytes, through the one call of x/sys that returns a struct
// of at least that size.
func original4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	sa := m.Multiaddr // family 2, port 2, address 4
	addr, port := netip.AddrFrom4([4]byte(sa[4:8])), binary.BigEndian.Uint16(sa[2:4])
	return netip.AddrPortFrom(addr, port), nil
}

// original6 reads a sockaddr_in6, with which the struct of IPV6_MTU begins.
func original6(fd int) (netip.AddrPort, error) {
	info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, ip6OriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	// The bytes as they lay in memory are in network order.
	port := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, info.Addr.Port))
	return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), port), nil
}
