package otlp

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

const (
	exportMethod = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
	// maxAnswer is far more than a collector says of a batch, in bytes.
	maxAnswer = 64 << 10
	// quiet is longer than a connection lives that nobody uses. A collector that was not told
	// otherwise takes PINGs for abuse.
	quiet = 10 * time.Minute
)

// overGRPC exports on one connection, for as long as there are spans.
type overGRPC struct{ client *rpc.Client }

func newOverGRPC(t *Tracer) *overGRPC {
	return &overGRPC{rpc.NewClient(rpc.Options{
		Dial: func(ctx context.Context) (*wire.Conn, error) {
			return t.Dial(ctx, t.Endpoint)
		},
		Authority: t.Endpoint, UserAgent: t.UserAgent, KeepAlive: quiet,
		// a batch may be larger than batchBytes by its last record
		Bounds: rpc.Bounds{Request: 2 * batchBytes, Response: maxAnswer},
	})}
}

// export sends an empty message whose unknown fields are the request: a message sends on what it
// does not know.
func (g *overGRPC) export(ctx context.Context, request []byte) ([]byte, error) {
	var in, out emptypb.Empty
	in.ProtoReflect().SetUnknown(request)
	if err := g.client.Call(ctx, exportMethod, &in, &out); err != nil {
		return nil, later(err)
	}
	return out.ProtoReflect().GetUnknown(), nil
}

// later marks the errors after which OTLP has a client try again (OTLP 1.7, "OTLP/gRPC response").
func later(err error) error {
	var status *rpc.Status
	if !errors.As(err, &status) {
		return err
	}
	switch status.Code {
	case rpc.Canceled, rpc.DeadlineExceeded, rpc.Aborted, rpc.OutOfRange, rpc.Unavailable,
		rpc.DataLoss:
		return &busy{error: err}
	}
	return err
}

func (g *overGRPC) close() { g.client.Close() }
