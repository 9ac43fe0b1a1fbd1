// Package api holds the messages between a workload and identity, generated from identity.proto,
// and their limits. The gRPC client and server are in identitygrpc: here they would link grpc-go
// into the proxy.
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative identity.proto
