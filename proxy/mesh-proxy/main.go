// Command mesh-proxy is the sidecar, and the init container that redirects a pod's traffic to it.
//
//	mesh-proxy run        serve; everything is told by TULLE_* environment variables
//	mesh-proxy redirect   redirect this network namespace's TCP to the proxy, and exit
//	mesh-proxy version
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tulle-mesh/tulle/proxy"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// version is set by the linker.
var version = "dev"

const usage = "usage: mesh-proxy run | redirect [flags] | version"

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	verb := ""
	if len(args) > 0 {
		verb = args[0]
	}
	switch verb {
	case "run":
		return serve()
	case "redirect":
		return redirectPod(args[1:])
	case "version", "--version":
		fmt.Println(version)
		return 0
	}
	fmt.Fprintln(os.Stderr, usage)
	return 2
}

func serve() int {
	cfg, err := config.Parse(os.Getenv)
	if err != nil {
		fmt.Fprintf(os.Stderr, "mesh-proxy: the environment is not usable:\n%v\n", err)
		return 2
	}
	if os.Getenv("GOGC") == "" {
		collector.Follow()
	}
	level := &slog.LevelVar{}
	level.Set(cfg.LogLevel)
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	signal.Ignore(syscall.SIGPIPE) // whoever reads our output may go away: traffic goes on
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p, err := proxy.New(cfg, version, proxy.Output{Log: log, Level: level, Access: os.Stdout})
	if err == nil {
		err = p.Run(ctx)
	}
	if err != nil {
		log.Error("mesh-proxy cannot serve", "err", err)
		return 1
	}
	return 0
}
