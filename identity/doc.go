// Package identity is the mesh's certificate authority: it turns proof of who a workload is into an
// SVID, and tells everybody whom to trust.
//
//	issuer.go    a CA certificate and its key, from PEM, checked before it is used
//	sign.go      an attested identity and a public key in, an SVID out
//	authority.go the issuer of the moment, and what the control plane's own servers get
//	csr.go       a certificate request, of which only key and signature count
//	attest.go    what a caller proved: by a Kubernetes token (token.go), or in dev mode by a join
//	             token (join.go)
//	service.go   the gRPC service, and Certify
//	bundles.go   Bundles: who follows them
//	admit.go     how much is answered at once, and to one address
//	store.go     the issuer's Secret: made on first start, never replaced, re-read when it changes
//	trust.go     the ConfigMap tulle-trust, kept in every namespace
//	event.go     refusals and rotations, as Kubernetes events
//	identity.go  Run: all of that, as `meshctl serve identity`
//	dev.go       the same service on loopback without Kubernetes, for `meshctl dev`
//
// What it refuses: a token that Kubernetes does not vouch for with our audience, or that is bound
// to no pod (`kubectl create token`); an expected ID that is not the attested one; keys other than
// ECDSA P-256; to believe anything a CSR says beyond its key; to replace an issuer. Dev mode
// refuses to listen off loopback and to run inside a cluster.
//
// Both calls are served with server-side TLS on one port. Certify's callers have no SVID yet.
// Bundles are public anyway (every namespace holds them in a ConfigMap), and a workload whose SVID
// has lapsed needs them most.
//
// Nothing here logs a token or a key. Each certificate issued is one line in the log: ID, pod,
// serial, expiry, caller.
//
// Every control-plane server, this one too, answers /live, /ready and /metrics in plain HTTP on
// port 9990 (serve.Health).
//
// Run and Dev.Serve own all goroutines they start, and return only after these have ended;
// Dev.Source's end with their context.
package identity
