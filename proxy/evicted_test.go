package proxy

import (
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// The reader of a connection learns of a port anew while others ask what its application speaks, for requests that came before.
func TestAPortThatIsLearnedAnewIsAskedMeanwhile(t *testing.T) {
	p := idleProxy(t)
	in := p.discovery.inbound(8080)
	in.update(in.policy.Load()) // as if destination had said the same
	c := &serverConn{p: p, inbound: true, port: in, number: 8080, app: backend{cluster: in.application("127.0.0.1:1")}}
	in.evicted.Store(true)
	fields := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/"}}
	before := &exchange{c: c, req: fields}
	if _, refusal := c.admit(before); refusal != nil {
		t.Fatal(refusal.reason)
	}
	var others sync.WaitGroup
	others.Go(func() {
		for range 100 {
			before.inHTTP1(c.app.cluster.set.Load().endpoints[0])
		}
	})
	for range 100 {
		c.admit(&exchange{c: c, req: fields})
	}
	others.Wait()
}
