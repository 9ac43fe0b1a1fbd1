package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawH2 is one end of an HTTP/2 connection that writes whatever it is told to.
type rawH2 struct {
	net.Conn
	*http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
}

func newRawH2(nc net.Conn) *rawH2 {
	c := &rawH2{Conn: nc, Framer: http2.NewFramer(nc, nc)}
	c.AllowIllegalWrites = true
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	return c
}

// dialH2 greets as a client.
func dialH2(addr string) (*rawH2, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(answerWithin))
	c := newRawH2(nc)
	if _, err := io.WriteString(nc, http2.ClientPreface); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	if err := c.WriteSettings(); err != nil {
		return nil, errors.Join(err, nc.Close())
	}
	return c, nil
}

// fields are "name=value" words; a name begins with its colon.
func (c *rawH2) fields(list ...string) []byte {
	c.block.Reset()
	for _, f := range list {
		i := strings.IndexByte(f[1:], '=') + 1
		c.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: f[i+1:]}) // to memory
	}
	return c.block.Bytes()
}

// headers sends a block, in as many frames as it takes.
func (c *rawH2) headers(id uint32, end bool, list ...string) error {
	const piece = 16 << 10
	block := c.fields(list...)
	n := min(piece, len(block))
	err := c.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, EndStream: end, EndHeaders: n == len(block), BlockFragment: block[:n],
	})
	for block = block[n:]; err == nil && len(block) > 0; block = block[n:] {
		n = min(piece, len(block))
		err = c.WriteContinuation(id, n == len(block), block[:n])
	}
	return err
}

// outcome is how a stream, or the whole connection, ended: its status, "RST_STREAM CODE" or "GOAWAY
// CODE".
func (c *rawH2) outcome(id uint32) string {
	status := ""
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID == id && f.PseudoValue("status") >= "200" {
				status = f.PseudoValue("status")
			}
			if f.StreamID == id && f.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if f.StreamID == id && f.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			switch {
			case f.StreamID != id:
			case status == "":
				return fmt.Sprint("RST_STREAM ", f.ErrCode)
			default:
				return "cut"
			}
		case *http2.GoAwayFrame:
			if f.ErrCode != http2.ErrCodeNo {
				return fmt.Sprint("GOAWAY ", f.ErrCode)
			}
		}
	}
}
