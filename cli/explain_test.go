package cli

import (
	"bytes"
	"testing"
	"time"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/viz"
)

// The way of a request as people see it: who asks, each step and by what, where it ends and what to
// do.
func TestAWayIsDrawn(t *testing.T) {
	rate, ms := 0.9, 2.0
	x := &explained{
		Path: &explain.Path{
			From: destination.Asker{Namespace: "shop", Pod: "web-0", Kind: "deployment",
				Name: "web", Identity: "spiffe://cluster.local/ns/shop/sa/web", Meshed: true},
			To: "checkout.shop.svc:80", Request: explain.Request{Method: "POST", Path: "/order"},
			Steps: []explain.Step{
				{Stage: explain.StageDiscovery, Says: "it is checkout", By: []explain.Object{
					{Kind: "Service", Namespace: "shop", Name: "checkout", Field: "spec.ports"}}},
				{Stage: explain.StageBackend, Says: "no endpoint", Fails: &explain.Failure{
					Reason: "no_endpoints", Status: 503, Share: 0.1, Next: "start one"}},
			},
		},
		Live: &viz.Figures{RPS: 12, SuccessRate: &rate, P50Ms: &ms, P99Ms: &ms, Ejected: 1,
			Endpoints: 3},
		Last: &viz.TapRecord{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), Method: "POST",
			Path: "/order", Status: 503, Duration: 0.002, Tries: 2, Reason: "no_endpoints",
			Error: "none is ready"},
	}
	const want = `deployment/web in shop, as pod web-0 (spiffe://cluster.local/ns/shop/sa/web)
asks checkout.shop.svc:80 for POST /order

√ discovery      it is checkout
                 by Service shop/checkout, spec.ports
‼ backend        no endpoint

In the last minute: 12.0rps, 90.00% succeeded, p50 2.0ms, p99 2.0ms.
Of 3 endpoints 1 are ejected now.
The last one like it: 03:04:05 POST /order: 503 in 2.0ms, 2 tries, no_endpoints: none is ready.

Of such requests 10 % do not go through: no_endpoints (503), at backend.
  next: start one
`
	var got bytes.Buffer
	a := &app{IOStreams: genericiooptions.IOStreams{Out: &got}}
	if err := a.drawPath(&got, x); err != nil || got.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got.String(), want)
	}
	x.Steps, x.Live, x.Last = x.Steps[:1], nil, nil
	got.Reset()
	if err := a.drawPath(&got, x); err != nil || !bytes.HasSuffix(got.Bytes(),
		[]byte("\n\nIt goes through.\n")) {
		t.Errorf("%v\n%s", err, got.String())
	}
}
