package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/api/vizgrpc"
)

// reported is viz's answer to one report.
type reported struct {
	Acknowledged bool   `json:"acknowledged"`
	Code         string `json:"code"`
	Reason       string `json:"reason"`
}

// report says to viz that it is some workload, with this pod's own SVID.
func report(ctx context.Context, args []string) (any, error) {
	var o own
	var w api.Workload
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	o.flags(flags)
	flags.StringVar(&w.Namespace, "namespace", "", "")
	flags.StringVar(&w.Kind, "kind", "deployment", "")
	flags.StringVar(&w.Name, "name", "", "")
	flags.StringVar(&w.Pod, "pod", "", "")
	ownID := flags.String("own-id", "", "the ID that the report says was proven")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	source, err := o.source(ctx)
	if err != nil {
		return nil, err
	}
	viz, err := controlPlane("viz")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("tulle-viz.tulle.svc.cluster.local:8084",
		grpc.WithTransportCredentials(credentials.NewTLS(spiffe.ClientConfig(source, viz,
			[]string{"h2"}, ""))))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	err = send(ctx, conn, &api.ReportRequest{
		StartId: "e2e", Sequence: 1, UptimeMs: 1000, Version: "e2e", Workload: &w,
		Series: []*api.Series{{Id: 1, Requests: 1000, Labels: &api.Labels{
			Direction: api.Direction_DIRECTION_INBOUND, OwnId: *ownID,
			Security: api.Security_SECURITY_MTLS, Protocol: "http/1", Port: 8080,
		}}},
	})
	s := status.Convert(err)
	return reported{Acknowledged: err == nil, Code: s.Code().String(), Reason: s.Message()}, nil
}

func send(ctx context.Context, conn *grpc.ClientConn, m *api.ReportRequest) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := vizgrpc.NewVizClient(conn).Report(ctx)
	if err != nil {
		return err
	}
	// A send on a stream that has ended says EOF; why it has is what the receipt says.
	sent := stream.Send(m)
	answer, err := stream.Recv()
	if err != nil {
		return err
	}
	if sent == nil && answer.Acknowledged != m.Sequence {
		return errors.New("viz acknowledged another report")
	}
	return sent
}
