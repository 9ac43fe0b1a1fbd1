package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/timer"
)

var (
	// errLimit: the cluster's limit says so.
	errLimit      = errors.New("there are too many connections")
	errNoEndpoint = errors.New("no endpoint is ready")
)

// dialEndpoint connects to one of a cluster's endpoints, and tries others when that fails: nothing
// was sent yet. Whoever has no more use for the connection says so to the endpoint (Disconnect).
func (c *Carrier) dialEndpoint(
	cl *balance.Cluster, by caller,
) (*balance.Endpoint, leg, error) {
	set := c.awaitEndpoints(cl)
	if set == nil {
		return nil, nil, fmt.Errorf("%w for %s", errNoEndpoint, cl.Name)
	}
	var last *balance.Endpoint
	var err error
	for range min(c.Limits.MaxTries, len(set.All)) {
		e := set.Pick(by.key(set, last))
		by.try++
		if !e.Connect(false) {
			return nil, nil, fmt.Errorf("%w to %s", errLimit, cl.Name)
		}
		e.Begin()
		began := time.Now()
		var up leg
		up, err = c.dialOpaque(e)
		e.Done()
		if err == nil {
			e.Reached()
			e.Observe(time.Since(began), set.Params, time.Now())
			return e, up, nil
		}
		e.Disconnect()
		e.Rest(time.Now())
		c.dialFailures.Inc()
		last = e
	}
	return nil, nil, err
}

// caller is who a connection is opened for.
type caller struct {
	from  net.Addr
	try   int // how many endpoints went before
	first detect.First
}

// key is what an endpoint is picked by. Of an opaque connection nothing can be hashed but where it
// comes from.
func (by caller) key(set *balance.EndpointSet, avoid *balance.Endpoint) balance.Key {
	k := balance.Key{Avoid: avoid, Now: time.Now(), Try: by.try}
	source := func(k balance.HashKey) bool { return k.Source }
	if a, ok := by.from.(*net.TCPAddr); ok && slices.ContainsFunc(set.HashKeys(), source) {
		k.Hash, k.Hashed = balance.HashAddress(a.AddrPort().Addr()), true
	}
	return k
}

// awaitEndpoints gives a cluster that has none the time that a request would wait.
func (c *Carrier) awaitEndpoints(cl *balance.Cluster) *balance.EndpointSet {
	for until := time.Now().Add(c.Limits.DiscoveryWait); ; c.sleep(timer.Tick) {
		if s := cl.Current(); s != nil && len(s.All) > 0 {
			return s
		}
		if c.Ctx.Err() != nil || time.Now().After(until) {
			return nil
		}
	}
}

// sleep pauses, or ends with the proxy.
func (c *Carrier) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.Ctx.Done():
	}
}

func (c *Carrier) dialOpaque(e *balance.Endpoint) (leg, error) {
	if e.Meshed() {
		return c.dialTunnel(e)
	}
	return c.connect(e, e.Address)
}

func (c *Carrier) connect(e *balance.Endpoint, addr string) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(c.Ctx, e.DialTimeout())
	defer cancel()
	nc, err := c.Dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return nc.(*net.TCPConn), nil
}

// dialTunnel opens an opaque connection inside mTLS.
func (c *Carrier) dialTunnel(e *balance.Endpoint) (leg, error) {
	nc, err := c.connect(e, e.Mesh)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.Ctx, e.HandshakeTimeout())
	defer cancel()
	tl := newTLSLeg(nc, nil, tls.Client, c.MeshConfig(e, config.ALPNTCP))
	if err := tl.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, &outcome.Failure{Why: outcome.Unreached(err, outcome.TLSFailed), Err: err}
	}
	return tl, nil
}
