package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// meshed is what a proxy answered to somebody who speaks the mesh's protocol by hand.
type meshed struct {
	Handshake string `json:"handshake"` // "" is a good one
	Resumed   bool   `json:"resumed"`
	Status    string `json:"status"`
	Error     string `json:"error"` // tulle-error
	Body      string `json:"body"`
	End       string `json:"end"`
}

// mesh makes a request to a proxy's inbound port with this pod's own SVID, and on each line of its
// standard input another on a new connection, with the SVID it had at first and a cache of TLS
// sessions, believing in the roots of the day.
func mesh(ctx context.Context, args []string) (any, error) {
	var o own
	flags := flag.NewFlagSet("mesh", flag.ContinueOnError)
	o.flags(flags)
	addr := flags.String("addr", "", "POD-IP:4143")
	peer := flags.String("peer", "", "ID of the peer")
	sni := flags.String("sni", "8080.tulle", "server name")
	alpn := flags.String("alpn", "tulle/h2", "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	source, err := o.source(ctx)
	if err != nil {
		return nil, err
	}
	id, err := spiffeid.FromString(*peer)
	if err != nil {
		return nil, fmt.Errorf("-peer: %w", err)
	}
	frozen := spiffe.NewSource()
	frozen.SetSVID(source.SVID())
	cfg := spiffe.ClientConfig(frozen, id, []string{*alpn}, *sni)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	var out []meshed
	for lines := bufio.NewScanner(os.Stdin); len(out) == 0 || lines.Scan(); {
		frozen.SetBundles(source.Bundles())
		m := knock(ctx, *addr, cfg)
		// whoever writes lines waits for this
		if err := json.NewEncoder(os.Stderr).Encode(m); err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// knock dials, shakes hands, and asks for /.
func knock(ctx context.Context, addr string, cfg *tls.Config) meshed {
	nc, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return meshed{Handshake: err.Error()}
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return meshed{Handshake: err.Error()}
	}
	conn := tls.Client(nc, cfg)
	if err := conn.HandshakeContext(ctx); err != nil {
		return meshed{Handshake: err.Error()}
	}
	m := meshed{Resumed: conn.ConnectionState().DidResume}
	m.ask(conn)
	return m
}

// ask is one GET over HTTP/2, frame by frame.
func (m *meshed) ask(conn net.Conn) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "http"}, {":authority", "e2e"}, {":path", "/"},
	} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}) // a buffer takes everything
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		m.End = err.Error()
		return
	}
	if err := framer.WriteSettings(); err != nil {
		m.End = err.Error()
		return
	}
	request := http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
	}
	if err := framer.WriteHeaders(request); err != nil {
		m.End = err.Error()
		return
	}
	for !m.read(framer) {
	}
}

// read takes a frame and reports whether it was the last.
func (m *meshed) read(framer *http2.Framer) bool {
	frame, err := framer.ReadFrame()
	if err != nil {
		m.End = err.Error()
		return true
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		for _, field := range f.Fields {
			switch field.Name {
			case ":status":
				m.Status = field.Value
			case "tulle-error":
				m.Error = field.Value
			}
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		m.Body += string(f.Data())
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		m.End = f.ErrCode.String()
		return true
	case *http2.GoAwayFrame:
		m.End = "GOAWAY " + f.ErrCode.String()
		return true
	}
	return false
}
