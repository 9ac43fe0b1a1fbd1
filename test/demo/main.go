// Command demo is every service of the sample application, one role each, and its load. It uses
// nothing but the standard library's HTTP and knows nothing of a mesh: where to listen and whom to
// call is in its environment.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"syscall"

	"github.com/tulle-mesh/tulle/test/demo/app"
	"github.com/tulle-mesh/tulle/test/demo/load"
)

const usage = `usage: demo web | checkout | inventory | payments VERSION | delivery [broken] |
            legacy | load
PORT says where to listen, CHECKOUT_URL and the like whom to call.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	role := ""
	if len(args) > 0 {
		role = args[0]
	}
	switch role {
	case "legacy":
		return app.Legacy(ctx, os.Getenv("CHECKOUT_URL"))
	case "load":
		return runLoad(ctx)
	}
	h, err := service(args)
	if err != nil {
		return err
	}
	return app.Serve(ctx, address(), h)
}

func service(args []string) (http.Handler, error) {
	switch {
	case len(args) == 1 && args[0] == "web":
		return app.Web(os.Getenv("CHECKOUT_URL")), nil
	case len(args) == 1 && args[0] == "checkout":
		return app.Checkout(app.Suppliers{Inventory: os.Getenv("INVENTORY_URL"),
			Payments: os.Getenv("PAYMENTS_URL"), Delivery: os.Getenv("DELIVERY_URL")}), nil
	case len(args) == 1 && args[0] == "inventory":
		return app.Inventory(), nil
	case len(args) == 1 && args[0] == "delivery":
		return app.Delivery(false), nil
	case slices.Equal(args, []string{"delivery", "broken"}):
		return app.Delivery(true), nil
	case len(args) == 2 && args[0] == "payments":
		return app.Payments(args[1]), nil
	}
	return nil, fmt.Errorf("what should I be?\n%s", usage)
}

func runLoad(ctx context.Context) error {
	rps := 50
	if text := os.Getenv("LOAD_RPS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > load.MaxRate {
			return fmt.Errorf("LOAD_RPS=%q: want a whole number of requests per second, up to %d",
				text, load.MaxRate)
		}
		rps = n
	}
	g := load.New(os.Getenv("WEB_URL"), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	background := make(chan struct{})
	go func() { defer close(background); g.Background(ctx, rps) }()
	err := app.Serve(ctx, address(), g.Handler())
	<-background
	return err
}

func address() string { return "127.0.0.1:" + os.Getenv("PORT") }
