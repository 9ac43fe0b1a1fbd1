package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// verbs are what the binary can do; each reads its own flags and prints what it found.
func verbs() map[string]func(ctx context.Context, args []string) (any, error) {
	return map[string]func(context.Context, []string) (any, error){
		"serve": serve, "call": call, "ws": webSocket, "grpc": interopCases, "redis": redis,
		"tcp": tcp, "load": load, "job": job,
		"certify": certify, "pose": pose, "report": report, "mesh": mesh,
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(os.Args) < 2 || verbs()[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr,
			"usage: app serve|call|ws|grpc|redis|tcp|load|job|certify|pose|report|mesh ...")
		os.Exit(2)
	}
	found, err := verbs()[os.Args[1]](ctx, os.Args[2:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}
