// Package vizgrpc holds the gRPC client and server of viz, generated from service.proto. It is
// apart from the messages because it links grpc-go, which the proxy, a user of the messages, must
// not.
package vizgrpc

//go:generate protoc -I .. --go-grpc_out=.. --go-grpc_opt=paths=source_relative --go-grpc_opt=require_unimplemented_servers=false vizgrpc/service.proto
