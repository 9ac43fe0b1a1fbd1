package redirect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// ip6OriginalDst is IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h; x/sys names only the
// IPv4 one, its equal.
const ip6OriginalDst = unix.SO_ORIGINAL_DST

// OriginalDst is where the peer of an accepted connection wanted to go. Without a redirection it is
// the address that was dialled, this socket's own; where conntrack is not at work at all it is
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

// original4 reads a sockaddr_in through the one call of x/sys that returns a struct of no less than
// its 16 bytes.
func original4(fd int) (netip.AddrPort, error) {
	m, err := unix.GetsockoptIPv6Mreq(fd, unix.SOL_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, err
	}
	sa := m.Multiaddr // family 2, port 2, address 4
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), binary.BigEndian.Uint16(sa[2:4])), nil
}

// original6: the struct of IPV6_MTU begins with a sockaddr_in6.
func original6(fd int) (netip.AddrPort, error) {
	info, err := unix.GetsockoptIPv6MTUInfo(fd, unix.SOL_IPV6, ip6OriginalDst)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := binary.NativeEndian.AppendUint16(nil, info.Addr.Port) // the bytes as they lay in memory: network order
	return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), binary.BigEndian.Uint16(port)), nil
}
