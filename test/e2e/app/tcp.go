package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

// said is what a raw connection gave. Dialed is false when nobody answered the SYN.
type said struct {
	Dialed bool   `json:"dialed"`
	Got    string `json:"got"`
	End    string `json:"end"` // eof, timeout, or the error
}

// tcp dials, sends, and reads until the peer ends or nothing comes for a while.
func tcp(ctx context.Context, args []string) (any, error) {
	flags := flag.NewFlagSet("tcp", flag.ContinueOnError)
	send := flags.String("send", "", `what to send; \r and \n are escapes`)
	first := flags.Bool("first", false, "wait for the server's greeting before sending")
	quiet := flags.Duration("quiet", 2*time.Second, "how long to wait for more")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var text string
	if _, err := fmt.Sscanf(`"`+*send+`"`, "%q", &text); err != nil {
		return nil, fmt.Errorf("-send: %w", err)
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", flags.Arg(0))
	if err != nil {
		return said{End: err.Error()}, nil
	}
	defer conn.Close()
	s := said{Dialed: true}
	if *first {
		s.read(conn, *quiet, '\n')
	}
	if _, err := io.WriteString(conn, text); err != nil {
		s.End = err.Error()
		return s, nil
	}
	s.read(conn, *quiet, 0)
	return s, nil
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
