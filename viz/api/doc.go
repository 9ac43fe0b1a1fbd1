// Package api holds the messages by which proxies report to viz, generated from viz.proto, and
// their limits. The gRPC client and server are in vizgrpc: here they would link grpc-go into the
// proxy.
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative viz.proto
