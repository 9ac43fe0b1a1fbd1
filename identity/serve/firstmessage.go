package serve

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

var errSilent = errors.New("the call's first message did not come in time")

type askKey struct{}

// begin sees a call when its headers have come, before anything is spent on it. It ends one whose
// first message does not follow in time; grpc-go would wait for ever, and count it nowhere.
func (g *GRPC) begin(ctx context.Context, _ *tap.Info) (context.Context, error) {
	if g.Admit != nil {
		leave, err := g.Admit(ctx)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, leave)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(g.limits.Ask, func() { cancel(errSilent) })
	context.AfterFunc(ctx, func() { timer.Stop() })
	return context.WithValue(ctx, askKey{}, timer), nil
}

// firstMessageCame says that a call's first message is here.
func firstMessageCame(ctx context.Context) {
	if timer, ok := ctx.Value(askKey{}).(*time.Timer); ok {
		timer.Stop()
	}
}

// unaryFirstMessage is called with the message.
func unaryFirstMessage(
	ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler,
) (any, error) {
	firstMessageCame(ctx)
	return next(ctx, req)
}

func streamFirstMessage(
	srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler,
) error {
	return next(srv, &firstMessage{ServerStream: ss})
}

// firstMessage notes a stream's first message. One goroutine receives at a time, as grpc-go asks.
type firstMessage struct {
	grpc.ServerStream
	here bool
}

func (f *firstMessage) RecvMsg(m any) error {
	err := f.ServerStream.RecvMsg(m)
	if f.here {
		return err
	}
	if err != nil && errors.Is(context.Cause(f.Context()), errSilent) {
		return status.Error(codes.DeadlineExceeded, errSilent.Error())
	}
	if err == nil {
		f.here = true
		firstMessageCame(f.Context())
	}
	return err
}
