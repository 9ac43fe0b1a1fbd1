package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"time"
)

// sent is one request as this program wrote it, and what each origin must have understood.
type sent struct {
	method, target string
	headers        string // lines, with their ends
	body           string // framed already
	saw            took   // beyond the method and the target
	status         int    // 200 without
	early          bool   // answered before it was read
	trailer        string // of the response
}

// batch is what one connection carries, written at once: the proxy finds the boundaries, and then
// the origin does.
type batch struct {
	name     string
	trailers bool // only for origins that show them
	http10   bool
	slow     bool // byte by byte
	early    bool
	list     []sent
}

func runDifferential(ctx context.Context, m *mesh, r *report) error {
	for _, o := range m.origins {
		for _, b := range batches() {
			if b.trailers && !o.trailers || b.early && !o.early {
				continue
			}
			m.seen.take()
			err := b.run(m, o)
			if err == nil {
				err = b.counted(m, o)
			}
			name := o.name + " " + b.name
			if err != nil {
				r.check(false, name, "%v", err)
				continue
			}
			r.check(true, name, "%d requests, as sent", len(b.list))
		}
	}
	return nil
}

// run sends the batch and reads the answers, which say what the origin saw.
func (b batch) run(m *mesh, o *origin) error {
	nc, err := net.Dial("tcp", m.outbound(o.name))
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(2 * answerWithin))
	go b.write(nc)
	br := bufio.NewReader(nc)
	for i := range b.list {
		s := &b.list[i]
		resp, err := readAnswer(br, s.method)
		if errors.Is(err, io.ErrUnexpectedEOF) && i > 0 && b.list[i-1].early {
			return nil // the rest of a body that nobody wants costs its connection
		}
		if err != nil {
			return fmt.Errorf("answer %d, to %s %s: %w", i, s.method, s.target, err)
		}
		if err := s.verify(resp, b.id(i), o); err != nil {
			return fmt.Errorf("answer %d, to %s %s: %w", i, s.method, s.target, err)
		}
	}
	if b.http10 {
		if _, err := br.ReadByte(); err != io.EOF {
			return fmt.Errorf("after an HTTP/1.0 response: %v", err)
		}
	}
	return nil
}

func (b batch) id(i int) string {
	return fmt.Sprintf("%s-%d", strings.ReplaceAll(b.name, " ", "-"), i)
}

func (b batch) write(w io.Writer) {
	var text strings.Builder
	for i, s := range b.list {
		version := "HTTP/1.1"
		if b.http10 {
			version = "HTTP/1.0"
		}
		fmt.Fprintf(&text, "%s %s %s\r\nHost: origin\r\nX-Id: %s\r\n%s\r\n%s", s.method, s.target,
			version, b.id(i), s.headers, s.body)
	}
	all := text.String()
	step := len(all)
	if b.slow {
		step = 1
	}
	for len(all) > 0 {
		if _, err := io.WriteString(w, all[:step]); err != nil {
			return // the reader hears of it
		}
		all = all[min(step, len(all)):]
	}
}

func (s *sent) verify(resp *http.Response, id string, o *origin) error {
	if want := max(s.status, 200); resp.StatusCode != want {
		return fmt.Errorf("status %d, want %d", resp.StatusCode, want)
	}
	body, _ := io.ReadAll(resp.Body) // from memory
	if s.status != 0 || s.method == "HEAD" {
		if s.status != 403 && len(body) > 0 {
			return fmt.Errorf("a body: %q", body)
		}
		return nil
	}
	var saw took
	if err := json.Unmarshal(body, &saw); err != nil {
		return fmt.Errorf("it is %q: %w", body, err)
	}
	if fmt.Sprint(len(body)) != resp.Header.Get("X-Length") {
		return fmt.Errorf("%d bytes, its origin wrote %s", len(body), resp.Header.Get("X-Length"))
	}
	if s.trailer != "" && o.trailers && resp.Trailer.Get("X-Ttrailer") != s.trailer {
		return fmt.Errorf("trailers %v", resp.Trailer)
	}
	return s.compare(saw, id)
}

func (s *sent) compare(saw took, id string) error {
	want := s.saw
	want.Sum = fmt.Sprintf("%x", sha256.Sum256([]byte(want.Sum)))
	switch {
	case saw.ID != id:
		return fmt.Errorf("the origin read request %s, not %s", saw.ID, id)
	case saw.Method != s.method || saw.Target != s.target && saw.Target != s.path():
		return fmt.Errorf("the origin read %s, want %s %s", saw, s.method, s.target)
	case saw.Length != want.Length || saw.Sum != want.Sum:
		return fmt.Errorf("the origin read a body of %d bytes, want %d", saw.Length, want.Length)
	case !maps.EqualFunc(saw.Headers, want.Headers, sameList):
		return fmt.Errorf("the origin read %v, want %v", saw.Headers, want.Headers)
	case !maps.Equal(saw.Trailers, want.Trailers) && want.Trailers != nil:
		return fmt.Errorf("the origin read trailers %v, want %v", saw.Trailers, want.Trailers)
	}
	return nil
}

// sameList: two fields of a name are one with a comma (RFC 9110 §5.3), and Apache makes it so.
func sameList(a, b string) bool {
	return strings.ReplaceAll(a, "][", ", ") == strings.ReplaceAll(b, "][", ", ")
}

// path is the target's origin form, which some origins show of an absolute one.
func (s *sent) path() string { return strings.TrimPrefix(s.target, "http://origin") }

// counted: the recorder took the requests that were sent, each once, in this order, and no other.
func (b batch) counted(m *mesh, o *origin) error {
	_, list := m.seen.take()
	if o.name == "node" {
		return nil // it answers itself, and a request too many would have been an answer too many
	}
	i := 0
	for _, t := range list {
		for i < len(b.list) && b.list[i].early {
			i++
		}
		if i == len(b.list) || t.ID != b.id(i) {
			return fmt.Errorf("the recorder took %s after %d requests", t, i)
		}
		i++
	}
	for i < len(b.list) && b.list[i].early {
		i++
	}
	if i < len(b.list) && !b.early {
		return errors.New("the recorder did not take them all")
	}
	return nil
}
