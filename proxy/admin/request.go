package admin

import (
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/h1"
)

const (
	// codeCancel is RFC 9113's CANCEL, the language of h1.Stream.Reset too.
	codeCancel = 0x8
	textPlain  = "text/plain; charset=utf-8"
	// dateFormat is RFC 9110's IMF-fixdate.
	dateFormat = "Mon, 02 Jan 2006 15:04:05 GMT"
)

// request is one request and its answer: the sink of its stream. The reader of its connection calls
// it, and for a page of metrics its own goroutine answers.
type request struct {
	c      *conn
	stream *h1.Stream
	timer  *time.Timer // ends what takes longer than timeouts.request

	method, path string
	fields       map[string]string // the first value of each field
	body         []byte
	begun        bool // the answer

	ended chan struct{} // closed: nothing more can be said
	room  chan struct{} // holds one: some of what was unsent has left

	mu       sync.Mutex // guards what follows
	finished bool
	answered bool // completely, as far as the answer is known
	unsent   int  // bytes of the answer that the connection's output had no room for
	over     func()
}

// begin starts a new request.
func (c *conn) begin(stream *h1.Stream) h1.Sink {
	c.silent.Stop()
	x := &request{c: c, stream: stream, fields: map[string]string{},
		ended: make(chan struct{}), room: make(chan struct{}, 1)}
	x.timer = time.AfterFunc(c.s.timeouts.request, func() {
		stream.Reset(codeCancel) // of which the sink is not told
		x.finish()
	})
	return x
}

// OnHeaders takes the head, and answers unless there is a body to wait for.
func (x *request) OnHeaders(fields []hpack.HeaderField, end bool) {
	if x.method != "" {
		x.complete() // trailers
		return
	}
	for _, f := range fields {
		if _, known := x.fields[f.Name]; !known {
			x.fields[f.Name] = f.Value
		}
	}
	x.method = x.fields[":method"]
	x.path, _, _ = strings.Cut(x.fields[":path"], "?")
	if end || !x.wantsBody() {
		x.complete()
	}
}

// OnData collects the body.
func (x *request) OnData(p []byte, end bool) {
	x.stream.Consumed(len(p))
	if x.begun {
		return
	}
	x.body = append(x.body, p...)
	if end || len(x.body) > maxBody {
		x.complete()
	}
}

// OnReset is the end of a request that was cut short.
func (x *request) OnReset(uint32, error) { x.finish() }

// OnSent notes what has left of a long answer.
func (x *request) OnSent(n int) {
	x.mu.Lock()
	x.unsent -= n
	done := x.answered && x.unsent <= 0
	x.mu.Unlock()
	select {
	case x.room <- struct{}{}:
	default:
	}
	if done {
		x.finish()
	}
}

// finish releases what is held while a request is under way.
func (x *request) finish() {
	x.timer.Stop()
	x.mu.Lock()
	over := x.over
	x.over = nil
	if !x.finished {
		x.finished = true
		close(x.ended)
	}
	x.mu.Unlock()
	if over != nil {
		over()
	}
}

// atEnd makes over be called once the answer has left, or cannot leave any more.
func (x *request) atEnd(over func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.over = over
}

// text answers in words.
func (x *request) text(status int, text string) { x.answer(status, textPlain, []byte(text+"\n")) }

// answer is a whole answer. It does not wait.
func (x *request) answer(status int, contentType string, body []byte, more ...hpack.HeaderField) {
	x.head(status, contentType, len(body), more...)
	if x.method != "HEAD" {
		x.write(body, true)
	}
	x.finishSent()
}

// head begins an answer. length is the size of its body in bytes, or -1 if it is not known.
func (x *request) head(status int, contentType string, length int, more ...hpack.HeaderField) {
	fields := append([]hpack.HeaderField{
		{Name: ":status", Value: strconv.Itoa(status)},
		{Name: "date", Value: time.Now().UTC().Format(dateFormat)},
		{Name: "content-type", Value: contentType},
		{Name: "x-content-type-options", Value: "nosniff"},
	}, more...)
	if length >= 0 {
		size := hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(length)}
		fields = append(fields, size)
	}
	x.stream.WriteHeaders(fields, x.method == "HEAD") // in HTTP/1 it never fails
}

func (x *request) write(p []byte, end bool) {
	kept := len(p) - x.stream.WriteData(p, end)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unsent += kept
}

// send adds a piece to the body and waits until the connection's output has taken it. It reports
// false if nobody takes it any more. The reader's goroutine may not call it.
func (x *request) send(p []byte) bool {
	if x.method == "HEAD" {
		return false
	}
	x.write(p, false)
	x.stream.Flush()
	for x.waits() {
		select {
		case <-x.room:
		case <-x.ended:
			return false
		}
	}
	return true
}

func (x *request) waits() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.unsent > 0
}

// end ends a body that was sent in pieces.
func (x *request) end() {
	if x.method != "HEAD" {
		x.write(nil, true)
	}
	x.stream.Flush()
	x.finishSent()
}

// finishSent notes that the answer is complete, and finishes the request if all of it has left.
func (x *request) finishSent() {
	x.mu.Lock()
	x.answered = true
	done := x.unsent <= 0
	x.mu.Unlock()
	if done {
		x.finish()
	}
}

// crossOrigin reports whether a browser says that a page of another origin makes the request, and
// the request would change something. Programs that are no browser send neither field.
func (x *request) crossOrigin() bool {
	switch x.method {
	case "GET", "HEAD", "OPTIONS":
		return false
	}
	switch x.fields["sec-fetch-site"] {
	case "same-origin", "none":
		return false
	case "":
	default:
		return true
	}
	origin := x.fields["origin"]
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != x.fields[":authority"]
}
