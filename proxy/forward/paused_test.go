package forward

import (
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A body that stops in the middle ends its request; silence of a gRPC stream, of a tunnel or after
// an answer began does not.
func TestABodyThatStopsArriving(t *testing.T) {
	field := func(name, value string) hpack.HeaderField {
		return hpack.HeaderField{Name: name, Value: value}
	}
	for _, tt := range []struct {
		name   string
		fields []hpack.HeaderField
		paused time.Duration
		want   string
	}{
		{"stopped", []hpack.HeaderField{field(":method", "POST"), field(":path", "/hang")},
			limits.BodyIdle, "408"},
		{"slow", []hpack.HeaderField{field(":method", "POST"), field(":path", "/hang")},
			limits.BodyIdle - time.Minute, ""},
		{"gRPC", []hpack.HeaderField{field(":method", "POST"), field(":path", "/hang"),
			field("content-type", "application/grpc")}, time.Hour, ""},
		{"being answered", []hpack.HeaderField{field(":method", "POST"), field(":path", "/begun")},
			time.Hour, "200"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newHarness(t)
			p.update(hanging(t))
			conn := p.web()
			s := newAnswers()
			x := newExchange(conn, s)
			x.OnHeaders(append(tt.fields,
				field(":scheme", "http"), field(":authority", "web")), false)
			x.OnData([]byte("all but the rest"), false)
			conn.batch.flush()
			if tt.want == "200" {
				s.awaitStatus(t)
			}
			x.mu.Lock()
			x.progressedAt = x.progressedAt.Add(-tt.paused)
			x.mu.Unlock()
			x.Expired(&x.stall)
			s.mu.Lock()
			got := s.status
			s.mu.Unlock()
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
			x.OnReset(0, nil)
			nothingLeft(t, p, conn.cluster())
		})
	}
}
