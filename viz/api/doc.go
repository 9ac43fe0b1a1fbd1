// Package api holds the messages by which proxies report to viz, generated from viz.proto. It holds messages only: a
// gRPC stub here would link grpc-go into the proxy.
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative viz.proto
