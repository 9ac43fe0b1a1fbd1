package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// verify looks at what a chain has between its two proxies: TLS 1.3 at least, and nobody without a
// certificate. That it is used is certain, for the caller's only way to the callee is there.
func (c *chain) verify(ctx context.Context, front string) (cipher, protocol string, err error) {
	t, err := c.mtls.dial(ctx, c.inner)
	if err != nil {
		return "", "", fmt.Errorf("with a certificate: %w", err)
	}
	s := t.ConnectionState()
	t.Close()
	if s.Version != tls.VersionTLS13 {
		return "", "", fmt.Errorf("%s, not TLS 1.3", tls.VersionName(s.Version))
	}
	anonymous := c.mtls.config.Clone()
	anonymous.Certificates = nil
	if err := refused(c.inner, anonymous, front); err != nil {
		return "", "", fmt.Errorf("without a certificate: %w", err)
	}
	old := c.mtls.config.Clone()
	old.MinVersion, old.MaxVersion = 0, tls.VersionTLS12
	if err := refused(c.inner, old, front); err != nil {
		return "", "", fmt.Errorf("with TLS 1.2: %w", err)
	}
	protocol = s.NegotiatedProtocol
	if protocol == "" {
		protocol = "no ALPN"
	}
	return tls.CipherSuiteName(s.CipherSuite), protocol, nil
}

// middle is what was found between a peer's proxies.
type middle struct {
	peer, cipher, protocol string
	fronts                 []string // what the clients spoke meanwhile
}

func (m middle) String() string {
	return fmt.Sprintf("%s: TLS 1.3, %s, %s for clients of %s", m.peer, m.cipher, m.protocol,
		strings.Join(m.fronts, ", "))
}

// saw notes what is between a peer's proxies.
func (b *bench) saw(peer, front, cipher, protocol string) {
	i := slices.IndexFunc(b.seen, func(m middle) bool {
		return m.peer == peer && m.cipher == cipher && m.protocol == protocol
	})
	if i < 0 {
		i = len(b.seen)
		b.seen = append(b.seen, middle{peer: peer, cipher: cipher, protocol: protocol})
	}
	if !slices.Contains(b.seen[i].fronts, front) {
		b.seen[i].fronts = append(b.seen[i].fronts, front)
	}
}

// refused: with TLS 1.3 a server's refusal of the client comes after the client's handshake is
// done, and nginx says it in HTTP.
func refused(addr string, config *tls.Config, front string) error {
	nc, err := net.DialTimeout("tcp", addr, talkTimeout)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(talkTimeout)); err != nil {
		return err
	}
	t := tls.Client(nc, config)
	if t.Handshake() != nil {
		return nil
	}
	err = served(t, front)
	var late net.Error
	switch {
	case err == nil:
		return errors.New("it serves that")
	case errors.As(err, &late) && late.Timeout():
		return errors.New("it neither serves nor refuses")
	}
	return nil
}

// served asks for something in what was negotiated.
func served(t *tls.Conn, front string) error {
	switch {
	case front == "tcp":
		if _, err := t.Write([]byte{down}); err != nil {
			return err
		}
		_, err := t.Read(make([]byte, 1))
		return err
	case t.ConnectionState().NegotiatedProtocol == "http/1.1":
		return askPlain(t)
	}
	h2, err := newTalk(t)
	if err != nil {
		return err
	}
	if err := h2.ask("/", nil, false); err != nil {
		return err
	}
	_, err = h2.await(1, false)
	return err
}
