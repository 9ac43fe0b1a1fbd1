package forward

import (
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/await"
)

// deaf is a caller that takes no body.
type deaf struct {
	*answers
	asked chan struct{} // to take some
}

func (s deaf) WriteData([]byte, bool) int {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	return 0
}

// Who takes nothing for too long is given up, and of a gRPC stream or a tunnel nobody is.
func TestOnlyARequestIsGivenUpForTakingNothing(t *testing.T) {
	p := newHarness(t)
	p.Limits.BodyStall = 20 * time.Millisecond
	p.update(hanging(t))
	conn := p.web()
	conn.http1 = false
	field := func(name, value string) hpack.HeaderField {
		return hpack.HeaderField{Name: name, Value: value}
	}
	begin := func(more ...hpack.HeaderField) (*exchange, *answers) {
		s := deaf{newAnswers(), make(chan struct{}, 1)}
		x := newExchange(conn, s)
		x.OnHeaders(append([]hpack.HeaderField{field(":method", "POST"), field(":path", "/begun"),
			field(":scheme", "http"), field(":authority", "web")}, more...), true)
		conn.batch.flush()
		await.Receive(t, "the caller is to take some", s.asked)
		return x, s.answers
	}
	stream, toStream := begin(field("content-type", "application/grpc"))
	_, toRequest := begin()
	await.Receive(t, "the request is given up", toRequest.ended)
	select {
	case <-toStream.ended:
		t.Errorf("the stream that began before it was given up too: %s", toStream.status)
	default:
	}
	stream.OnReset(0, nil)
	nothingLeft(t, p, conn.cluster())
}
