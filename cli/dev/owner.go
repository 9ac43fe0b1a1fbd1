package dev

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// owners names the process at the other end of a loopback connection, by what the kernel says about
// sockets: every peer of a relay has the same address, and nothing but its process tells one from
// another.
type owners struct {
	processes func() map[int]string // pid: instance
}

// looks is how often a connection is looked for. The kernel's tables of sockets and descriptors are
// read in pieces, and what moves in them meanwhile can be missed.
const looks = 10

// of is the name of the process that owns a loopback address's connection, or "".
func (o owners) of(peer *net.TCPAddr) string {
	for range looks {
		if name := o.holder(socketInode(peer)); name != "" {
			return name
		}
	}
	return ""
}

// holder is the process that has a socket among its descriptors, or "".
func (o owners) holder(inode string) string {
	if inode == "" {
		return ""
	}
	for pid, name := range o.processes() {
		if holds(pid, inode) {
			return name
		}
	}
	return ""
}

// socketInode is the socket whose local address this is (proc(5): /proc/net/tcp; addresses in host
// byte order, hexadecimal).
func socketInode(addr *net.TCPAddr) string {
	ip := addr.IP.To4()
	if ip == nil {
		return ""
	}
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], addr.Port)
	if inode := findLocal("/proc/net/tcp", local); inode != "" {
		return inode
	}
	// an IPv6 socket that speaks IPv4
	return findLocal("/proc/net/tcp6", "0000000000000000FFFF0000"+local)
}

func findLocal(file, local string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		const localField, inodeField = 1, 9
		fields := strings.Fields(lines.Text())
		if len(fields) > inodeField && fields[localField] == local && fields[inodeField] != "0" {
			return fields[inodeField]
		}
	}
	return ""
}

// holds says whether a process has the socket among its descriptors.
func holds(pid int, inode string) bool {
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	want := "socket:[" + inode + "]"
	for _, fd := range fds {
		if link, err := os.Readlink(fd); err == nil && link == want {
			return true
		}
	}
	return false
}
