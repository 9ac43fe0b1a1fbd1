// Command meshctl is Tulle's command line, and every server of its control plane.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/tulle-mesh/tulle/cli"
)

// version is set by the linker.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := cli.Main(ctx, version, os.Args[1:])
	stop()
	os.Exit(status)
}
