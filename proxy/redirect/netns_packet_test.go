//go:build netns

package redirect

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// sendOutOfWindow sends segments of nc's four-tuple with numbers from the four quarters of the
// sequence space: whatever the connection's own are, one of the segments is ahead of its window.
// (What is behind counts as a late copy.)
func (s *space) sendOutOfWindow(t *testing.T, nc net.Conn) {
	t.Helper()
	for quarter := range uint32(4) {
		s.sendSegment(t, nc, quarter<<30)
	}
}

func (s *space) sendSegment(t *testing.T, nc net.Conn, seq uint32) {
	t.Helper()
	local, remote := nc.LocalAddr().(*net.TCPAddr), nc.RemoteAddr().(*net.TCPAddr)
	seg := make([]byte, 20)
	binary.BigEndian.PutUint16(seg[0:], uint16(local.Port))
	binary.BigEndian.PutUint16(seg[2:], uint16(remote.Port))
	binary.BigEndian.PutUint32(seg[4:], seq)
	binary.BigEndian.PutUint32(seg[8:], seq)
	seg[12], seg[13] = 5<<4, 0x18 // header of five words; PSH and ACK
	src, dst := [4]byte(local.IP.To4()), [4]byte(remote.IP.To4())
	binary.BigEndian.PutUint16(seg[16:], tcpChecksum(src, dst, seg))
	s.do(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, seg, 0, &unix.SockaddrInet4{Addr: dst})
	})
}

func tcpChecksum(src, dst [4]byte, seg []byte) uint16 {
	pseudo := append(append(src[:], dst[:]...), 0, unix.IPPROTO_TCP, 0, byte(len(seg)))
	var sum uint32
	for _, b := range [][]byte{pseudo, seg} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// dropped adds up the packet counters of the dropping rules in an IPv4 chain, as the kernel has
// them.
func (s *space) dropped(t *testing.T, chain string) (packets uint64) {
	t.Helper()
	s.do(t, func() error {
		table := &nftables.Table{Name: TableName, Family: nftables.TableFamilyIPv4}
		rules, err := new(nftables.Conn).GetRules(table, &nftables.Chain{Name: chain, Table: table})
		for _, r := range rules {
			packets += droppedBy(r)
		}
		return err
	})
	return packets
}

func droppedBy(r *nftables.Rule) (packets uint64) {
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case *expr.Counter:
			packets = e.Packets
		case *expr.Verdict:
			if e.Kind == expr.VerdictDrop {
				return packets
			}
		}
	}
	return 0
}
