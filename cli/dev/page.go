package dev

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/tulle-mesh/tulle/viz/gate"
)

// page lets browsers in to viz, over its restarts.
type page struct {
	gate   *gate.Gate
	addr   string
	cancel context.CancelFunc
	done   chan struct{}
}

// startPage serves the page of the viz at an address, which stays the same.
func (s *session) startPage(viz string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start the page: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	way := gate.Proxy(func() string { return viz }, &http.Transport{})
	p := &page{gate: gate.New(way), addr: l.Addr().String(), cancel: cancel,
		done: make(chan struct{})}
	go func() {
		defer close(p.done)
		if err := p.gate.Serve(ctx, l); err != nil {
			s.log.Error("the page ended", "err", err)
		}
	}()
	s.page = p
	return nil
}

// address is good for one browser.
func (p *page) address() string { return p.gate.Address(p.addr) }

func (p *page) close() {
	p.cancel()
	<-p.done
}

// PageAddress is where one browser can open the page of the mesh that runs in a state folder.
func PageAddress(ctx context.Context, dir string) (string, error) {
	body, err := ask(ctx, dir, http.MethodGet, "/page")
	return string(body), err
}
