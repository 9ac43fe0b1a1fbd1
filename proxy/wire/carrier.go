package wire

import (
	"net"
	"time"
)

// carrier is the net.Conn that crypto/tls sees. During the handshake it is the connection itself. Afterwards it never
// blocks: Write adds to the ciphertext that the next flush sends, and Read gives what was received and else says dry.
type carrier struct{ c *Conn }

// dryError is temporary in the sense of net.Error, which is how crypto/tls knows that it may be asked again.
type dryError struct{}

func (*dryError) Error() string   { return "wire: nothing received" }
func (*dryError) Timeout() bool   { return false }
func (*dryError) Temporary() bool { return true }

var dry = new(dryError)

func (k *carrier) Read(p []byte) (int, error) {
	in := &k.c.cipher
	if in.r == in.w {
		if k.c.open.Load() {
			return 0, dry
		}
		if err := k.c.receive(in); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.unread())
	in.discard(n)
	return n, nil
}

func (k *carrier) Write(p []byte) (int, error) {
	if !k.c.open.Load() {
		return k.c.nc.Write(p)
	}
	k.c.sealMu.Lock()
	defer k.c.sealMu.Unlock()
	if k.c.sealed == nil {
		k.c.sealed = newOutput(bufferSize)
	}
	k.c.sealed = append(k.c.sealed, p...)
	return len(p), nil
}

func (k *carrier) Close() error                       { return k.c.nc.Close() }
func (k *carrier) LocalAddr() net.Addr                { return k.c.nc.LocalAddr() }
func (k *carrier) RemoteAddr() net.Addr               { return k.c.nc.RemoteAddr() }
func (k *carrier) SetDeadline(t time.Time) error      { return k.c.nc.SetDeadline(t) }
func (k *carrier) SetReadDeadline(t time.Time) error  { return k.c.nc.SetReadDeadline(t) }
func (k *carrier) SetWriteDeadline(t time.Time) error { return nil } // a Write never waits; the writer has its own
