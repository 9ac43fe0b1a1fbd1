// Package api holds the messages between a proxy and destination, generated from destination.proto,
// their limits and their names. The gRPC client and server are in destinationgrpc: here they would
// link grpc-go into the proxy.
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative destination.proto
