package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// talk is the client's end of one HTTP/2 connection, used by one goroutine. It is small, since
// thousands of them are open at once.
type talk struct {
	net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	enc    *hpack.Encoder
	dec    *hpack.Decoder
	last   uint32 // stream
	status string // of the block being read
}

// talkTimeout bounds each question.
const talkTimeout = 20 * time.Second

// window is what a talk lets the server send beyond RFC 9113's 65,535 bytes, on the connection and
// on a stream.
const window = 1 << 20

func newTalk(nc net.Conn) (*talk, error) {
	t := &talk{Conn: nc, framer: http2.NewFramer(nc, nc)}
	t.enc = hpack.NewEncoder(&t.block)
	t.dec = hpack.NewDecoder(4096, func(f hpack.HeaderField) {
		if f.Name == ":status" {
			t.status = f.Value
		}
	})
	var hello bytes.Buffer // in one write, as clients do
	hello.WriteString(http2.ClientPreface)
	w := http2.NewFramer(&hello, nil)
	wide := http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}
	if err := errors.Join(w.WriteSettings(wide), w.WriteWindowUpdate(0, window)); err != nil {
		return nil, err
	}
	_, err := nc.Write(hello.Bytes())
	return t, err
}

// ask sends a request without waiting: whole if there is a body or none, with its end left open for
// nil.
func (t *talk) ask(path string, body []byte, open bool) error {
	if err := t.SetDeadline(time.Now().Add(talkTimeout)); err != nil {
		return err
	}
	if t.last += 2; t.last == 2 {
		t.last = 1 // clients' streams are odd
	}
	t.block.Reset()
	method := "GET"
	if len(body) > 0 || open {
		method = "POST"
	}
	for _, f := range [][2]string{
		{":method", method}, {":scheme", "http"}, {":authority", "app.bench"}, {":path", path},
	} {
		if err := t.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	if len(body) > 0 {
		length := hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(body))}
		if err := t.enc.WriteField(length); err != nil {
			return err
		}
	}
	err := t.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: t.last,
		BlockFragment: t.block.Bytes(), EndHeaders: true, EndStream: len(body) == 0 && !open})
	if err != nil || len(body) == 0 {
		return err
	}
	// within RFC 9113's first window, and its largest frame
	return t.framer.WriteData(t.last, true, body)
}

// settings waits for the server's first frame, and acknowledges it.
func (t *talk) settings() error {
	if err := t.SetDeadline(time.Now().Add(talkTimeout)); err != nil {
		return err
	}
	f, err := t.framer.ReadFrame()
	if err != nil {
		return err
	}
	var none int
	_, err = t.took(f, &none)
	return err
}

// await reads until so many streams have been answered: in full, or (headers) as far as that. It
// says how many bytes they had.
func (t *talk) await(streams int, headers bool) (size int, err error) {
	for streams > 0 {
		f, err := t.framer.ReadFrame()
		if err != nil {
			return size, err
		}
		ended, err := t.took(f, &size)
		if err != nil {
			return size, err
		}
		if _, isHeaders := f.(*http2.HeadersFrame); ended || (headers && isHeaders) {
			streams--
		}
	}
	return size, nil
}

// took does what a frame asks for; ended: it was a stream's last.
func (t *talk) took(f http2.Frame, size *int) (ended bool, err error) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			err = t.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			err = t.framer.WritePing(true, f.Data)
		}
	case *http2.HeadersFrame:
		if !f.HeadersEnded() {
			return false, errors.New("a CONTINUATION: more headers than expected")
		}
		if _, err := t.dec.Write(f.HeaderBlockFragment()); err != nil {
			return false, err
		}
		if t.status != "200" {
			return false, fmt.Errorf("status %s", t.status)
		}
		return f.StreamEnded(), t.dec.Close()
	case *http2.DataFrame:
		*size += len(f.Data())
		return f.StreamEnded(), nil
	case *http2.RSTStreamFrame:
		return false, fmt.Errorf("stream %d was reset: %v", f.StreamID, f.ErrCode)
	case *http2.GoAwayFrame:
		return false, fmt.Errorf("GOAWAY: %v", f.ErrCode)
	}
	return false, err
}
