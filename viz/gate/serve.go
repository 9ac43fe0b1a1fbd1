package gate

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/tulle-mesh/tulle/identity/serve"
)

// Serve lets browsers in on l until the context ends, and closes it; streams end then, too.
func (g *Gate) Serve(ctx context.Context, l net.Listener) error {
	if !Loopback(l.Addr().String()) {
		return errors.Join(fmt.Errorf("the page is for this machine only, not for %s", l.Addr()),
			l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := serve.NewHTTP(g)
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		server.Close()
	}()
	err := server.Serve(serve.Bound("page", l, serve.LoopbackLimits(), nil))
	cancel()
	<-stopped
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	return nil
}
