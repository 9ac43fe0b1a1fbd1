// Package spiffe says who a process is and whom it believes: SPIFFE IDs of workloads, the SVID and
// the trust bundles a process holds (Source), TLS configs made from them, and the loop that keeps
// the SVID fresh (Renewer). Proxies and control-plane servers use the same code, so both ends of
// every connection check the same things.
//
// It adds to go-spiffe what Tulle promises and SPIFFE leaves open:
//
//   - An SVID has one URI SAN of the shape spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICEACCOUNT,
//     both extended key usages, and neither the CA flag nor a certificate-signing key usage. A DNS
//     name is never an identity.
//   - TLS is 1.3 only. Peers are verified in VerifyConnection, which runs on every handshake:
//     go-spiffe's VerifyPeerCertificate is skipped when a session is resumed, and so is its
//     authorizer. Session tickets are off too.
//   - A server without an authorizer refuses everyone. A client names the one exact ID that it
//     accepts.
//   - Certificates and roots are read from the Source at each handshake, so rotation needs no
//     restart.
//
// It refuses to speak gRPC or Kubernetes: the proxy links it. go-spiffe's workloadapi is left out
// for the same reason.
//
// It starts no goroutines. Renewer.Run works on its caller's goroutine until the context ends.
package spiffe
