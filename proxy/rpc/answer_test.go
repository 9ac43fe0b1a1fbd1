package rpc

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// scripted is an HTTP/2 server that answers each request with the next of its scripts: what no gRPC
// server would send.
type scripted struct {
	addr    string
	mu      sync.Mutex // guards what follows
	scripts []func(*h2.Stream)
	resets  []uint32
}

func startScripted(t *testing.T, scripts ...func(*h2.Stream)) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{addr: l.Addr().String(), scripts: scripts}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				h2.NewServer(wire.New(nc, nil), h2.Options{OnStream: s.onStream}).Serve()
			})
		}
	})
	// the client, closed before, ends the connections
	t.Cleanup(func() { l.Close(); running.Wait() })
	return s
}

func (s *scripted) onStream(stream *h2.Stream) h2.Sink {
	return &scriptedSink{s: s, stream: stream}
}

type scriptedSink struct {
	s      *scripted
	stream *h2.Stream
}

func (k *scriptedSink) OnHeaders([]hpack.HeaderField, bool) {}
func (k *scriptedSink) OnSent(int)                          {}

// OnData answers when the request is complete.
func (k *scriptedSink) OnData(p []byte, end bool) {
	k.stream.Consumed(len(p))
	if !end {
		return
	}
	k.s.mu.Lock()
	next := k.s.scripts[0]
	if len(k.s.scripts) > 1 {
		k.s.scripts = k.s.scripts[1:]
	}
	k.s.mu.Unlock()
	next(k.stream)
}

func (k *scriptedSink) OnReset(code uint32, _ error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	k.s.resets = append(k.s.resets, code)
}

func fields(namesAndValues ...string) []hpack.HeaderField {
	var all []hpack.HeaderField
	for i := 0; i < len(namesAndValues); i += 2 {
		all = append(all, hpack.HeaderField{Name: namesAndValues[i], Value: namesAndValues[i+1]})
	}
	return all
}

// script writes a head, a body and trailers; nil leaves out.
func script(head []hpack.HeaderField, body []byte, trailers []hpack.HeaderField) func(*h2.Stream) {
	return func(s *h2.Stream) {
		s.WriteHeaders(head, body == nil && trailers == nil)
		if body != nil {
			s.WriteData(body, trailers == nil)
		}
		if trailers != nil {
			s.WriteHeaders(trailers, true)
		}
	}
}

func reset(code uint32) func(*h2.Stream) { return func(s *h2.Stream) { s.Reset(code) } }

func TestAnswersThatNoGRPCServerGives(t *testing.T) {
	head := fields(":status", "200", "content-type", "application/grpc")
	ok := fields("grpc-status", "0")
	m, err := proto.Marshal(wrapperspb.Bytes([]byte("m")))
	if err != nil {
		t.Fatal(err)
	}
	one := framed(m)
	good := script(head, one, ok)
	for _, tt := range []struct {
		name    string
		scripts []func(*h2.Stream)
		want    Code
	}{
		{"good", []func(*h2.Stream){good}, OK},
		{"good, with a codec's name", []func(*h2.Stream){
			script(fields(":status", "200", "content-type", "application/grpc+proto"), one, ok),
		}, OK},
		{"good, after an early hint", []func(*h2.Stream){func(s *h2.Stream) {
			s.WriteHeaders(fields(":status", "103"), false)
			good(s)
		}}, OK},
		{"HTTP 403", []func(*h2.Stream){
			script(fields(":status", "403", "content-type", "text/html"), nil, nil),
		}, PermissionDenied},
		{"HTTP 503 and a page", []func(*h2.Stream){
			script(fields(":status", "503"), []byte("<html>"), nil),
		}, Unavailable},
		{"HTTP 503 and a gRPC status", []func(*h2.Stream){
			script(fields(":status", "503", "grpc-status", "5"), nil, nil),
		}, NotFound},
		{"another content type", []func(*h2.Stream){
			script(fields(":status", "200", "content-type", "application/grpcweb"), one, ok),
		}, Unknown},
		{"compressed",
			[]func(*h2.Stream){script(head, append([]byte{1}, one[1:]...), ok)}, Internal},
		{"too long",
			[]func(*h2.Stream){script(head, []byte{0, 255, 0, 0, 0}, ok)}, ResourceExhausted},
		{"only a head", []func(*h2.Stream){script(head, nil, nil)}, Internal},
		{"no trailers", []func(*h2.Stream){script(head, one, nil)}, Internal},
		{"trailers without a status",
			[]func(*h2.Stream){script(head, one, fields("x", "y"))}, Internal},
		{"half a message", []func(*h2.Stream){script(head, one[:6], ok)}, Internal},
		{"no message", []func(*h2.Stream){script(head, nil, ok)}, Internal},
		{"two messages", []func(*h2.Stream){script(head, framed(m, m), ok)}, Internal},
		{"no protobuf", []func(*h2.Stream){script(head, framed([]byte{0xff}), ok)}, Internal},
		{"a status that is no number",
			[]func(*h2.Stream){script(head, one, fields("grpc-status", "OK"))}, Unknown},
		{"refused once", []func(*h2.Stream){reset(h2.CodeRefusedStream), good}, OK},
		{"refused for ever", []func(*h2.Stream){reset(h2.CodeRefusedStream)}, Unavailable},
		{"calm down", []func(*h2.Stream){reset(h2.CodeEnhanceYourCalm), good}, ResourceExhausted},
		{"cancelled", []func(*h2.Stream){reset(h2.CodeCancel), good}, Canceled},
		{"insecure", []func(*h2.Stream){reset(h2.CodeInadequateSecure), good}, PermissionDenied},
		{"broken", []func(*h2.Stream){reset(h2.CodeInternal), good}, Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startScripted(t, tt.scripts...)
			c := newTestClient(t, dialTo(s.addr, nil))
			out, err := call(testContext(t), c, "x")
			if codeOf(err) != tt.want || err == nil && out != "m" {
				t.Errorf("%q %v, want %v", out, err, tt.want)
			}
		})
	}
}
