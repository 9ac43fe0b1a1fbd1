// Package api holds the messages between a proxy and destination, generated from destination.proto. It
// holds messages, their limits and their names only: a gRPC stub here would link grpc-go into the proxy.
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative destination.proto
