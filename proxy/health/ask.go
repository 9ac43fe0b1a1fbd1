package health

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

const (
	// userAgent says in the application's log who asks.
	userAgent = "tulle-health-check"
	// maxHead bounds the head of an answer. Its body is not read: the connection's window, which
	// nobody gives back, bounds what comes of it.
	maxHead = 16 << 10

	grpcMethod = "/grpc.health.v1.Health/Check"
	// grpcServing is HealthCheckResponse.SERVING.
	grpcServing = 1
	// maxMessage bounds both messages: a name of a service, and a number.
	maxMessage = 1 << 10
)

// dial connects to the application.
type dial func(ctx context.Context, addr string) (net.Conn, error)

// ask makes one check of an address, which ends with ctx; nil: the application is well.
func (c *Check) ask(ctx context.Context, d dial, addr string) error {
	if c.method == overGRPC {
		return c.askGRPC(ctx, d, addr)
	}
	nc, err := d(ctx, addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if c.method == tcp {
		return nc.Close()
	}
	return c.askHTTP(ctx, nc, addr)
}

// engine is a client's connection, of either protocol.
type engine interface{ Start(end func(error)) }

func (c *Check) askHTTP(ctx context.Context, nc net.Conn, addr string) error {
	w := wire.New(nc, nil)
	x := &exchange{answer: make(chan answer, 1)}
	e, open := c.engine(w)
	ended := make(chan struct{})
	e.Start(func(err error) {
		x.tell(answer{err: err})
		close(ended)
	})
	defer func() {
		w.Close()
		<-ended
	}()
	if err := open(c.head(addr), x); err != nil {
		return fmt.Errorf("ask for %s: %w", c.path, err)
	}
	w.Flush()
	select {
	case a := <-x.answer:
		return c.judge(a)
	case <-ctx.Done():
		return fmt.Errorf("no answer within %v", c.timeout)
	}
}

// engine makes the client's end of a connection, and what opens a request on it.
func (c *Check) engine(w *wire.Conn) (engine, func([]hpack.HeaderField, *exchange) error) {
	if c.method == overHTTP2 {
		conn := h2.NewClient(w, h2.Options{MaxHeaderBytes: maxHead})
		return conn, func(head []hpack.HeaderField, x *exchange) error {
			_, err := conn.OpenStream(head, true, x)
			return err
		}
	}
	conn := h1.NewClient(w, h1.Options{MaxHeaderBytes: maxHead})
	return conn, func(head []hpack.HeaderField, x *exchange) error {
		_, err := conn.OpenStream(head, true, x)
		return err
	}
}

func (c *Check) head(addr string) []hpack.HeaderField {
	authority := c.host
	if authority == "" {
		authority = addr
	}
	return []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: authority}, {Name: ":path", Value: c.path},
		{Name: "user-agent", Value: userAgent},
	}
}

func (c *Check) judge(a answer) error {
	switch {
	case a.err != nil:
		return fmt.Errorf("no answer: %w", a.err)
	case !c.takes(a.status):
		return fmt.Errorf("%s is answered by %d", c.path, a.status)
	}
	return nil
}

// answer is a status, or why there is none.
type answer struct {
	status uint32
	err    error
}

// exchange waits for the head of a response. Its handlers are called by the connection's reader.
type exchange struct{ answer chan answer }

// tell keeps the first answer.
func (x *exchange) tell(a answer) {
	if a.status == 0 && a.err == nil {
		a.err = errors.New("the connection was closed")
	}
	select {
	case x.answer <- a:
	default:
	}
}

// OnHeaders takes the head, and not those that are informational.
func (x *exchange) OnHeaders(fields []hpack.HeaderField, _ bool) {
	for _, f := range fields {
		if f.Name != ":status" {
			continue
		}
		status, err := strconv.ParseUint(f.Value, 10, 16)
		if err != nil || status >= 200 {
			x.tell(answer{uint32(status), err})
		}
	}
}

// OnReset tells that there will be no answer.
func (x *exchange) OnReset(code uint32, err error) {
	if err == nil {
		err = fmt.Errorf("the request was reset with code %d", code)
	}
	x.tell(answer{err: err})
}

// OnData leaves the body where it is.
func (x *exchange) OnData([]byte, bool) {}

// OnSent has nothing to wait for.
func (x *exchange) OnSent(int) {}

// askGRPC calls Check. Its messages are a string and an enum, each as field 1, and so on the wire
// what the wrappers are: their own package would link grpc-go.
func (c *Check) askGRPC(ctx context.Context, d dial, addr string) error {
	client := rpc.NewClient(rpc.Options{
		Dial: func(ctx context.Context) (*wire.Conn, error) {
			nc, err := d(ctx, addr)
			if err != nil {
				return nil, err
			}
			return wire.New(nc, nil), nil
		},
		Authority: addr, UserAgent: userAgent,
		Bounds: rpc.Bounds{Request: maxMessage, Response: maxMessage},
	})
	defer client.Close()
	serving := &wrapperspb.Int32Value{}
	err := client.Call(ctx, grpcMethod, wrapperspb.String(c.service), serving)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("no answer within %v", c.timeout)
	case err != nil:
		return err
	case serving.Value != grpcServing:
		return fmt.Errorf("%s answers with status %d, not SERVING", grpcMethod, serving.Value)
	}
	return nil
}
