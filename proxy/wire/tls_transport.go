package wire

import (
	"net"
	"time"
)

// tlsTransport is the net.Conn that crypto/tls sees. During the handshake it is the connection
// itself. Afterwards it never blocks: Write adds to the ciphertext that the next flush sends, and
// Read gives what was received, or errNothingReceived.
type tlsTransport struct{ c *Conn }

// nothingReceivedError is temporary in the sense of net.Error. crypto/tls may be asked again after
// such an error, and only after such.
type nothingReceivedError struct{}

func (*nothingReceivedError) Error() string   { return "wire: nothing received" }
func (*nothingReceivedError) Timeout() bool   { return false }
func (*nothingReceivedError) Temporary() bool { return true }

var errNothingReceived = new(nothingReceivedError)

func (k *tlsTransport) Read(p []byte) (int, error) {
	in := &k.c.cipher
	if in.r == in.w {
		if k.c.open.Load() {
			return 0, errNothingReceived
		}
		if err := k.c.receive(in); err != nil {
			return 0, err
		}
	}
	n := copy(p, in.unread())
	in.discard(n)
	return n, nil
}

func (k *tlsTransport) Write(p []byte) (int, error) {
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

func (k *tlsTransport) Close() error                      { return k.c.nc.Close() }
func (k *tlsTransport) LocalAddr() net.Addr               { return k.c.nc.LocalAddr() }
func (k *tlsTransport) RemoteAddr() net.Addr              { return k.c.nc.RemoteAddr() }
func (k *tlsTransport) SetDeadline(t time.Time) error     { return k.c.nc.SetDeadline(t) }
func (k *tlsTransport) SetReadDeadline(t time.Time) error { return k.c.nc.SetReadDeadline(t) }

// SetWriteDeadline does nothing: Write never waits, and the writer goroutine has its own deadline.
func (k *tlsTransport) SetWriteDeadline(t time.Time) error { return nil }
