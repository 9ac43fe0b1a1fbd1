// Package manifest is what `meshctl install` renders: the CRDs, and a control plane of four servers
// with a service account and the least rights each.
//
// Objects are made typed and printed with sorted keys, so that the same flags give the same bytes
// every time, and a diff of two installs shows what changed. It refuses to render a secret:
// identity makes its issuer in the cluster, on first start. It talks to nobody and starts no
// goroutines.
package manifest
