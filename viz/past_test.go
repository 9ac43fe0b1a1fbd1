package viz

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/viz/api"
)

// end reports, and says that some series are not there any more.
func (p *pod) end(ids []uint32, series ...*api.Series) error {
	m := p.message(series...)
	m.Ended = ids
	r, err := checkReport(p.stream.who, m)
	if err != nil {
		return err
	}
	return p.mesh.store.apply(p.mesh.now, p.stream, r)
}

// A proxy that lives for long calls pods that come and go. What it has counted of each of them is
// counted, and it never has too many series.
func TestPodsThatComeAndGo(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	const peers = 20_000
	var last []uint32
	for i := range uint32(peers) {
		m.now = m.now.Add(time.Second)
		s := outbound(i, m.pod("shop", "checkout", fmt.Sprint("checkout-", i)), "")
		s.Requests = 3
		if err := web.end(last, s); err != nil {
			t.Fatalf("after %d peers: %v", i, err)
		}
		last = []uint32{i}
	}
	for _, resource := range []string{"deploy/web", "pod/web-1"} {
		row := m.one(Query{Resource: resource, To: "svc/checkout"})
		if row.Requests != 3*peers {
			t.Errorf("%s: %d requests, want %d", resource, row.Requests, 3*peers)
		}
	}
	if row := m.one(Query{Resource: "svc/checkout"}); row.RPS != 3 || row.Requests != 3*peers {
		t.Errorf("the service is %+v", row)
	}
	if size := m.store.sizes[web.stream.who]; size > 8<<10 {
		t.Errorf("the pod takes %d bytes", size)
	}
	m.now = m.now.Add(historyLength + time.Minute)
	if err := web.end(last); err != nil {
		t.Fatal(err)
	}
	m.now = m.now.Add(historyLength + time.Minute)
	web.report()
	if rows := m.stat(Query{Resource: "svc"}); len(rows) != 0 || len(m.store.labels.sets) != 0 {
		t.Errorf("an hour later there is %+v, and %d labels", rows, len(m.store.labels.sets))
	}
}

// The first report of a stream has everything: what is not in it has ended while nobody heard.
func TestSeriesEndBetweenStreams(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	m.now = m.now.Add(time.Second)
	caller := "spiffe://cluster.local/ns/shop/sa/front"
	web.report(inbound(1, 10, 1, ""), inbound(2, 5, 0, caller))
	web.reconnect()
	m.now = m.now.Add(time.Second)
	web.report(inbound(2, 6, 0, caller), inbound(3, 7, 0, ""))
	if row := m.one(Query{Resource: "deploy"}); row.Requests != 23 || row.Failures != 1 {
		t.Errorf("row is %+v", row)
	}
	unknown := inbound(1, 11, 0, "")
	unknown.Labels = nil
	if err := web.try(unknown); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a series that has ended goes on: %v", err)
	}
	if err := web.end([]uint32{2}, inbound(2, 6, 0, caller)); status.Code(err) !=
		codes.InvalidArgument {
		t.Errorf("a series ends and is reported: %v", err)
	}
	if err := web.end([]uint32{3, 3, 99}); err != nil {
		t.Errorf("what is not there cannot end, and harms nobody: %v", err)
	}
	if row := m.one(Query{Resource: "deploy"}); row.Requests != 23 {
		t.Errorf("row is %+v", row)
	}
}
