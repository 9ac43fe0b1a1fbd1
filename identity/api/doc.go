// Package api holds the messages between a workload and identity, generated from identity.proto. It holds messages
// only: a gRPC stub here would link grpc-go into the proxy.
package api

//go:generate protoc --go_out=. --go_opt=paths=source_relative identity.proto
