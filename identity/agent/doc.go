// Package agent gives a control-plane server its SVID: it obtains one from identity with the
// pod's projected token, renews it, and follows the trust bundles. Proxies do the same over their
// own gRPC client; this one is grpc-go's, which the servers link anyway.
//
// The files are read again for every call: the kubelet replaces the token hourly and the trust file
// when roots change. It refuses to talk to anyone but the one identity server that it was given,
// and never logs the token.
//
// Start owns two goroutines; both end with its context.
package agent
