//go:build !linux

package redirect

import (
	"errors"
	"net"
	"net/netip"
)

var errLinux = errors.New(
	"redirect: redirection needs Linux; elsewhere configure explicit upstreams")

// Families needs Linux.
func Families() ([]Family, error) { return nil, errLinux }

// Apply needs Linux.
func Apply(Options, ...Family) error { return errLinux }

// Remove needs Linux.
func Remove(...Family) error { return errLinux }

// OriginalDst is ErrNotRedirected, for nothing is ever redirected here.
func OriginalDst(*net.TCPConn) (netip.AddrPort, error) { return netip.AddrPort{}, ErrNotRedirected }
