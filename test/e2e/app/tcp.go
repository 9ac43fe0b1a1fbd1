package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"net"
	"os"
	"strconv"
	"time"
)

// said is what a raw connection gave. Dialed is false when nobody answered the SYN.
type said struct {
	Dialed bool   `json:"dialed"`
	Got    string `json:"got"`
	End    string `json:"end"` // eof, timeout, or the error
}

// script is what a raw connection is to say, and when.
type script struct {
	first      bool   // the server greets before anything is sent
	send, then string // then follows what was answered to send
	half       bool   // ends its direction before it reads
	quiet      time.Duration
}

// tcp dials, sends, and reads until the peer ends or nothing comes for a while.
func tcp(ctx context.Context, args []string) (any, error) {
	var p script
	flags := flag.NewFlagSet("tcp", flag.ContinueOnError)
	flags.Func("send", `what to send, escaped as in Go: \r\n, \x00`, unquoteInto(&p.send))
	flags.Func("then", "what to send after the answer, escaped likewise", unquoteInto(&p.then))
	flags.BoolVar(&p.first, "first", false, "wait for the server's greeting before sending")
	flags.BoolVar(&p.half, "half", false, "end this direction before reading, as nc does")
	flags.DurationVar(&p.quiet, "quiet", 2*time.Second, "how long to wait for more")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", flags.Arg(0))
	if err != nil {
		return said{End: err.Error()}, nil
	}
	defer conn.Close()
	s := said{Dialed: true}
	if err := s.converse(conn.(*net.TCPConn), p); err != nil {
		s.End = err.Error()
	}
	return s, nil
}

func unquoteInto(to *string) func(string) error {
	return func(text string) (err error) {
		*to, err = strconv.Unquote(`"` + text + `"`)
		return err
	}
}

func (s *said) converse(conn *net.TCPConn, p script) error {
	if p.first {
		s.read(conn, p.quiet, '\n')
	}
	if _, err := io.WriteString(conn, p.send); err != nil {
		return err
	}
	if p.half {
		if err := conn.CloseWrite(); err != nil {
			return err
		}
	}
	if p.then != "" {
		s.read(conn, p.quiet, '\n')
		if _, err := io.WriteString(conn, p.then); err != nil {
			return err
		}
	}
	s.read(conn, p.quiet, 0)
	return nil
}

// read stops at the byte until, if it is not 0.
func (s *said) read(conn net.Conn, quiet time.Duration, until byte) {
	buf := make([]byte, 4096)
	for {
		if err := conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			s.End = err.Error()
			return
		}
		n, err := conn.Read(buf)
		s.Got += string(buf[:n])
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.End = "timeout"
			return
		case errors.Is(err, io.EOF):
			s.End = "eof"
			return
		case err != nil:
			s.End = err.Error()
			return
		case until != 0 && n > 0 && buf[n-1] == until:
			return
		}
	}
}
