// Package e2e holds the tests that use Tulle as a user does: meshctl and kubectl as commands, on a
// real Kubernetes.
//
//	make e2e                                          from nothing, and nothing is left
//	make e2e-real                                     with Flagger and Prometheus, as they come
//	make images && test/cluster/cluster up            then, in test/e2e, as often as wanted:
//	../cluster/cluster run go test -tags e2e -count=1 -keep -run Protocols .
//
// The tests run inside the node's network namespace (cluster run): nothing they send can leave the
// machine, and tcpdump sees what pods send each other. They need the images that `make images`
// writes, loaded with `cluster load`.
//
// One installation and one set of applications (testdata/app.yaml, three times) serve all tests; a
// test that needs something of its own makes a namespace of its own. Files are named after their
// subject; uninstall_test.go is last by its name, and must be.
//
// Load tests assert counts, never times. Waiting is polling here: the cluster's controllers tell
// nobody when they are done.
package e2e
