package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tulle-mesh/tulle/viz"
)

// rarePath is asked for by one request of rareOf.
const (
	rarePath = "/rare"
	rareOf   = 64
)

// seenRows are what it costs that somebody looks, whose bars are beside the same where nobody does.
func seenRows() []row {
	some := saturated
	some.paths = []string{rarePath}
	for len(some.paths) < rareOf {
		some.paths = append(some.paths, "/")
	}
	return []row{
		{name: "telemetry-two", title: "HTTP/2, two hops mTLS, 8x16 streams, 1 % of traces " +
			"sampled and exported, access log of failures", unit: "req",
			shape: shape{hops: twoHops, front: "http2", middle: "http2", policies: telemetry},
			work:  h2load(saturated), afresh: true},
		{name: "tap-two", title: fmt.Sprintf("HTTP/2, two hops mTLS, 8x16 streams, a tap that "+
			"one of %d requests matches", rareOf), unit: "req",
			shape: shape{hops: twoHops, front: "http2", middle: "http2", policies: tapped},
			work:  h2load(some), afresh: true},
	}
}

// telemetryOf is the object by which proxies sample, export to a collector, and log failures.
func telemetryOf(collector string) string {
	return fmt.Sprintf(`apiVersion: tulle.dev/v1alpha1
kind: TelemetryPolicy
metadata: {namespace: bench, name: some}
spec:
  targetRefs: [{kind: Namespace, name: bench}]
  accessLog: {filter: Failures}
  tracing: {samplingRate: {numerator: 1}, provider: {address: %q}}
`, collector)
}

// sample has the mesh trace, and waits until it does: what a proxy is told takes a moment.
func (m *mesh) sample(addr string) error {
	collector, err := m.collect()
	if err != nil {
		return err
	}
	if err := m.plane.Tell(telemetryOf(collector)); err != nil {
		return err
	}
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	defer t.CloseIdleConnections()
	for until := time.Now().Add(readyTimeout); time.Now().Before(until); {
		for range 100 {
			if err := fetch(&http.Client{Transport: t, Timeout: readyTimeout}, addr); err != nil {
				return err
			}
		}
		traces, err := m.plane.Viz().Traces(m.ctx, viz.TraceQuery{})
		if err != nil || len(traces.Traces) > 0 {
			return err
		}
	}
	return errors.New("nothing is traced")
}

func fetch(c *http.Client, addr string) error {
	answer, err := c.Get("http://" + addr + "/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// collect takes spans, and does nothing with them, until the mesh ends.
func (m *mesh) collect() (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
		return errors.Join(s.RecvMsg(&emptypb.Empty{}), s.SendMsg(&emptypb.Empty{}))
	}))
	m.beside.Go(func() { s.Serve(l) }) // it ends by Stop
	context.AfterFunc(m.ctx, s.Stop)
	return l.Addr().String(), nil
}

// tap watches the rare path until the mesh ends, and begins when both proxies look.
func (m *mesh) tap() error {
	looking, ended := make(chan struct{}), make(chan error, 1)
	m.beside.Go(func() {
		before := true
		ended <- m.plane.Viz().Tap(m.ctx, &viz.TapQuery{Path: rarePath}, func(l viz.TapLine) error {
			if l.Counts.Proxies == 2 && before {
				before = false
				close(looking)
			}
			return nil
		})
	})
	select {
	case <-looking:
		return nil
	case err := <-ended:
		return fmt.Errorf("the tap has ended: %w", err)
	case <-time.After(readyTimeout):
		return errors.New("not both proxies look for what the tap asks for")
	}
}
