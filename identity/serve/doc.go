// Package serve is how the servers of the control plane listen: destination, identity and viz (gRPC
// over TLS), the injector's webhook (HTTPS), and their pages for probes, metrics and questions
// (plain HTTP). It decides who may hold a connection and for how long; what callers then ask, and
// whether they may, is each server's own business.
//
// # The bounds
//
// Limits are data: connections in all, of one source address and of one verified SVID, handshakes
// that are not over, ages and sizes. None of them waits: a connection that is one too many is
// closed, by a reset, and counted by its reason. So there is no queue in which a caller without a
// certificate can stand before a proxy that has one.
//
// What is full is shared: whoever holds the most gives way to whoever holds less (max-min
// fairness). A source that fills a server alone keeps what the others leave, and no more. Where all
// hold alike, the newcomer is refused and goes to another replica.
//
//   - While a handshake lasts, the oldest of the greediest address gives way to any newcomer: a
//     good handshake takes milliseconds, so the oldest is one that says nothing.
//   - Established connections of a gRPC server are not taken from an address within its share.
//   - Plain HTTP is asked by a kubelet, Prometheus or an API server, which dial again: there, too,
//     the oldest gives way.
//
// Memory is a bound like the others: the number of connections follows from GOMEMLIMIT, and at 95 %
// of it a server is full, whatever it holds. So it refuses before the kernel kills it.
//
// An address is what one host can choose from: an IPv4 address, or an IPv6 network of 64 bits.
//
// # gRPC
//
// GRPC serves what grpc-go's generator has made, with grpc-go's types, over the proxy's HTTP/2
// (proxy/h2, proxy/wire). What 10,000 proxies cost is what their connections cost, and there an
// idle one holds no buffer and no goroutine; nor does a call whose handler rests (Rest). It knows
// what our services use: unary calls and streams, deadlines, statuses. It refuses compressed
// messages and sends no metadata. Flow control reaches the handler at both ends: SendMsg waits
// while more than sendBuffer is unsent, and messages that it has not received keep the window
// closed.
//
// # Goroutines
//
// Each handshake has one, and each call its handler's unless that rests; GRPC owns them, and Stop
// and GracefulStop wait for them and for the readers of connections, which package wire runs. Those
// of net/http end with the context of Serve.
package serve
