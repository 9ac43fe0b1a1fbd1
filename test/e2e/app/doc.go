// Command app is what the e2e tests deploy: a server of every protocol that the mesh must carry,
// and the clients to call it. It knows nothing of the mesh.
//
//	serve.go    HTTP/1 and h2c, HTTPS, WebSocket, what docker speaks, gRPC, a protocol whose
//	            server speaks first; it ends its requests on SIGTERM
//	call.go     one HTTP request           ws.go    a WebSocket conversation
//	grpc.go     grpc-go's interop cases
//	redis.go    commands to a Redis        tcp.go   raw bytes, and what came back
//	load.go     an open loop of requests, and exactly how each ended
//	job.go      one request, and the end
//
// And what an attacker in a pod of the mesh would do, with the pod's own certificate (own.go):
//
//	certify.go  asks identity for a certificate with some token
//	pose.go     serves where proxies look for the control plane
//	report.go   tells viz that it is somebody else
//	mesh.go     speaks to a proxy's inbound port by hand
//
// Every client prints one line of JSON and ends with 0 when it could find out what it was asked,
// whatever that is; the tests judge. All goroutines end with the process.
package main
