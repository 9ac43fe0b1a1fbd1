//go:build !linux

package wire

import (
	"errors"
	"net"
)

// socket is for Linux; elsewhere each connection has a goroutine, as everything has that is no TCP.
type socket struct{ net.Conn }

func adopt(net.Conn) (*socket, error) { return nil, errors.ErrUnsupported }

func (*socket) start(*Conn)                  {}
func (*socket) notifyWoken()                 {}
func (*socket) afterTurns(Flusher)           {}
func (*socket) yield()                       {}
func (*socket) readable() bool               { return false }
func (*socket) assumeReadable()              {}
func (*socket) awaitInput()                  {}
func (*socket) pending() error               { return nil }
func (*socket) readNow([]byte) (int, error)  { return 0, errors.ErrUnsupported }
func (*socket) writeNow([]byte) (int, error) { return 0, errors.ErrUnsupported }
