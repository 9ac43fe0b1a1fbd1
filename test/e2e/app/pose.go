package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// posed counts, by port, the callers that believed in a server and those that did not.
type posed struct {
	mu       sync.Mutex
	Believed map[string]int    `json:"believed"`
	Refused  map[string]int    `json:"refused"`
	Why      map[string]string `json:"why"`
}

// pose is a server with this pod's own SVID where callers look for the control plane. What came of
// it is on port 8080's /posed.
func pose(ctx context.Context, args []string) (any, error) {
	var o own
	flags := flag.NewFlagSet("pose", flag.ContinueOnError)
	o.flags(flags)
	ports := flags.String("ports", "", "comma-separated")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	source, err := o.source(ctx)
	if err != nil {
		return nil, err
	}
	p := &posed{Believed: map[string]int{}, Refused: map[string]int{}, Why: map[string]string{}}
	all, ctx := errgroup.WithContext(ctx)
	for port := range strings.SplitSeq(*ports, ",") {
		// Whether it asks for the caller's certificate or not is the real server's to know; both
		// must be refused.
		cfg := spiffe.ServerConfig(source, []string{"h2"}, spiffe.AnyPeer)
		if port == "18080" {
			cfg = spiffe.BootstrapServerConfig(source, []string{"h2"})
		}
		all.Go(func() error { return p.listen(ctx, port, cfg) })
	}
	all.Go(func() error { return serveHTTP(ctx, &http.Server{Handler: p}, ":8080") })
	return "ended", all.Wait()
}

func (p *posed) listen(ctx context.Context, port string, cfg *tls.Config) error {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		nc, err := l.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go p.greet(ctx, port, tls.Server(nc, cfg))
	}
}

// greet: a handshake that the caller completes, by a first byte of its own, is one that believed.
func (p *posed) greet(ctx context.Context, port string, conn *tls.Conn) {
	defer conn.Close()
	err := conn.HandshakeContext(ctx)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.Believed[port]++
		return
	}
	p.Refused[port]++
	p.Why[port] = err.Error()
}

func (p *posed) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = json.NewEncoder(w).Encode(p)
}
