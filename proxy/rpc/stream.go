package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/h2"
)

// SendBuffer is how many bytes of a stream may be unsent before Send waits: HTTP/2's default
// window.
const SendBuffer = 64 << 10

// Stream is one call. One goroutine may send while another receives. Two may not send at once, nor
// receive at once.
type Stream struct {
	bounds  Bounds
	h2      *h2.Stream
	done    chan struct{} // closed when the call has ended
	arrived chan struct{} // a message may be in the queue
	room    chan struct{} // bytes may have left
	unwatch func() bool   // stops waiting for the context
	ends    time.Time     // the context's deadline, if it has one

	mu         sync.Mutex // guards what follows
	ended      bool
	status     *Status // nil at the end: OK
	halfDone   bool    // nothing more is to be sent
	unsent     int     // below zero for a moment when bytes leave before WriteData has returned
	in         deframer
	queue      [][]byte // complete messages that Recv has not taken
	unconsumed int      // received bytes whose window was not given back
}

func newStream(bounds Bounds) *Stream {
	return &Stream{
		bounds:  bounds,
		in:      deframer{most: bounds.Response},
		done:    make(chan struct{}),
		arrived: make(chan struct{}, 1),
		room:    make(chan struct{}, 1),
	}
}

// open starts the call on a connection. It holds the lock meanwhile, for the connection may die at
// once and tell the sink.
func (s *Stream) open(ctx context.Context, c *h2.Conn, fields []hpack.HeaderField) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, err := c.OpenStream(fields, false, (*sink)(s))
	if err != nil {
		return err
	}
	s.h2 = stream
	s.ends, _ = ctx.Deadline()
	s.unwatch = context.AfterFunc(ctx, func() { s.abort(contextStatus(ctx.Err())) })
	return nil
}

// Send sends m. It waits while more than SendBuffer is unsent. When the call has ended it returns
// its Status, or io.EOF if that is OK.
func (s *Stream) Send(m proto.Message) error { return s.send(m, false) }

func (s *Stream) send(m proto.Message, last bool) error {
	b, err := frameMessage(m, s.bounds.Request)
	if err != nil {
		return err
	}
	if err := s.awaitRoom(last); err != nil {
		return err
	}
	s.write(b, last)
	return nil
}

// CloseSend says that nothing more is to be sent.
func (s *Stream) CloseSend() error {
	if err := s.awaitRoom(true); err != nil {
		return err
	}
	s.write(nil, true)
	return nil
}

func (s *Stream) write(b []byte, last bool) {
	rest := len(b) - s.h2.WriteData(b, last)
	s.mu.Lock()
	s.unsent += rest
	s.mu.Unlock()
	s.h2.Flush()
}

var errSendClosed = errors.New("send after CloseSend")

// awaitRoom waits until a message may be written; last says that it is the last one.
func (s *Stream) awaitRoom(last bool) error {
	for {
		s.mu.Lock()
		switch {
		case s.ended:
			defer s.mu.Unlock()
			return s.resultLocked()
		case s.halfDone:
			s.mu.Unlock()
			return causedBy(Internal, errSendClosed)
		case s.unsent <= SendBuffer:
			s.halfDone = last
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-s.done:
		}
	}
}

// Recv waits for the next message. At the end it returns io.EOF if the status is OK, and else the
// Status.
func (s *Stream) Recv(m proto.Message) error {
	b, err := s.next()
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(b, m); err != nil {
		status := causedBy(Internal, fmt.Errorf("unmarshal: %w", err))
		s.abort(status)
		return status
	}
	return nil
}

// next waits for the next message, still encoded.
func (s *Stream) next() ([]byte, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			b, back := s.takeLocked()
			s.mu.Unlock()
			s.giveBack(back)
			return b, nil
		}
		if s.ended {
			defer s.mu.Unlock()
			return nil, s.resultLocked()
		}
		s.mu.Unlock()
		select {
		case <-s.arrived:
		case <-s.done:
		}
	}
}

// takeLocked takes the first message off the queue, and says how many bytes of window to give back.
func (s *Stream) takeLocked() (b []byte, back int) {
	b = s.queue[0]
	s.queue[0] = nil
	s.queue = s.queue[1:]
	back = min(s.unconsumed, len(b)+prefix)
	if len(s.queue) == 0 {
		back = s.unconsumed // the rest is part of the next message, which needs the window to go on
	}
	s.unconsumed -= back
	return b, back
}

func (s *Stream) giveBack(n int) {
	if n > 0 {
		s.h2.Consumed(n)
		s.h2.Flush()
	}
}

// Close cancels the call if it has not ended.
func (s *Stream) Close() { s.abort(causedBy(Canceled, context.Canceled)) }

// abort ends the call from this side, and drops what was received.
func (s *Stream) abort(status *Status) {
	s.mu.Lock()
	first := s.endLocked(status)
	if first {
		s.queue = nil
	}
	s.mu.Unlock()
	if first {
		s.h2.Reset(h2.CodeCancel)
		s.h2.Flush()
	}
}

// endLocked ends the call, and reports whether it had not ended before.
func (s *Stream) endLocked(status *Status) bool {
	if s.ended {
		return false
	}
	s.ended, s.status = true, status
	s.in = deframer{}
	if s.unwatch != nil {
		s.unwatch()
	}
	close(s.done)
	return true
}

// resultLocked is what Send and Recv return once the call has ended.
func (s *Stream) resultLocked() error {
	if s.status == nil {
		return io.EOF
	}
	return s.status
}

// sink has a stream's handlers. The connection calls OnSent from any goroutine, and the others in
// its reader's turns.
type sink Stream

// apply ends the call with a status. If ended is true the server has ended its half, so that there
// is nothing to cancel.
func (k *sink) apply(status *Status, ended bool) {
	s := (*Stream)(k)
	if !ended {
		s.abort(status)
		return
	}
	s.mu.Lock()
	first := s.endLocked(status)
	open := first && (!s.halfDone || s.unsent > 0)
	s.mu.Unlock()
	if open {
		s.h2.Reset(h2.CodeNone) // the server has answered: it wants no more of the request
	}
}

// OnHeaders takes the head and the trailers.
func (k *sink) OnHeaders(fields []hpack.HeaderField, end bool) {
	var httpCode, contentType, grpcCode, message string
	for _, f := range fields {
		switch f.Name {
		case ":status":
			httpCode = f.Value
		case "content-type":
			contentType = f.Value
		case "grpc-status":
			grpcCode = f.Value
		case "grpc-message":
			message = f.Value
		}
	}
	if strings.HasPrefix(httpCode, "1") {
		return
	}
	isHead := httpCode != ""
	switch {
	case end && grpcCode != "":
		k.apply(k.complete(trailerStatus(grpcCode, message)), true)
	case isHead && (httpCode != "200" || !h2.IsGRPC(contentType)):
		k.apply(httpStatus(httpCode), end)
	case end:
		k.apply(newStatus(Internal, "the server ended the call without a status"), true)
	}
}

// complete turns OK into an error if only a part of a message has arrived.
func (k *sink) complete(status *Status) *Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	if status == nil && k.in.partial() {
		return newStatus(Internal, "the server ended the call within a message")
	}
	return status
}

// OnData takes a piece of the body.
func (k *sink) OnData(p []byte, end bool) {
	k.mu.Lock()
	if k.ended {
		k.mu.Unlock()
		k.h2.Consumed(len(p))
		return
	}
	status := k.in.push(p, func(b []byte) { k.queue = append(k.queue, b) })
	back := k.creditLocked(len(p))
	k.mu.Unlock()
	if back > 0 {
		k.h2.Consumed(back) // the reader flushes after its batch
	}
	signal(k.arrived)
	switch {
	case status != nil:
		k.apply(status, false)
	case end:
		k.apply(newStatus(Internal, "the server ended the call without a status"), true)
	}
}

// creditLocked says how much of the window of n bytes that arrived is given back at once. While
// messages wait for Recv it is none. While none waits it is all: the bytes are part of one message,
// which is bounded, and which could never become complete without the window.
func (k *sink) creditLocked(n int) (back int) {
	if len(k.queue) > 0 {
		k.unconsumed += n
		return 0
	}
	return n
}

// OnReset ends the call, for which the server has given no status.
func (k *sink) OnReset(code uint32, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	status := resetStatus(code, err)
	if status.Code == Canceled && !k.ends.IsZero() && !time.Now().Before(k.ends) {
		status = contextStatus(context.DeadlineExceeded) // the server's clock ran out first
	}
	(*Stream)(k).endLocked(status)
}

// OnSent notes that n bytes have left which had to wait.
func (k *sink) OnSent(n int) {
	k.mu.Lock()
	k.unsent -= n
	k.mu.Unlock()
	signal(k.room)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
