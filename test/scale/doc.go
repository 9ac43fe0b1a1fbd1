// Command scale measures the control plane at the size of a large cluster: what destination,
// identity and viz weigh with 10,000 proxies, how soon a change reaches those that watch it, what
// changes cost, and how long it takes until all are back after a restart.
//
//	bin/scale                              everything; a quarter of an hour
//	bin/scale -proxies 1000 -rows viz      a part, sooner; the bars are those of 10,000
//	bin/scale -docs docs                   docs/scale.md and docs/scale.svg say what came of it
//
// It exits 3 when a Must of bars.go is missed, and 1 when something could not be measured.
//
// Each server is a child of this program: its real code, with one processor (GOMAXPROCS=1) and the
// GOMEMLIMIT that `meshctl install` gives it. The proxies are here. Each is a pod of its own, with
// an address of loopback and an SVID of its own, over mutual TLS; it speaks through proxy/rpc as a
// real one does, asks for the same keys and keeps what it must name when it comes back. What it
// does not do is to balance: the rows that are about that have package discover apply what comes.
//
// What is not real: destination's source is a synthetic cluster, changed on command over a pipe
// (source.go), so that nothing of an API server is measured; identity's API server is client-go's
// fake, which believes a token whatever it says; and the SVIDs for destination and viz are of
// test/svid, for identity is measured by itself.
//
// A child and the proxies share the machine. What a row says of time is from the moment of the
// change in the child to the moment at which a proxy has decoded it, so a busy machine, and the
// proxies' own work, count against the server.
//
//	main.go       the flags and the run
//	bars.go       what must be reached
//	cluster.go    the synthetic cluster
//	keys.go       who asks for what
//	source.go     the cluster as a destination.Source
//	child.go      a child, as its parent has it
//	serve.go      a child, as it sees itself
//	dial.go       how proxies dial
//	follower.go   a proxy of destination; fleet.go: all of them; tally.go: who has heard what
//	caller.go     a proxy of identity
//	reporter.go   a proxy of viz
//	row_*.go      the rows
//	report.go, markdown.go, plot.go, machine.go   what came of it
//
// It refuses to judge what it could not measure: such a row is an error, never a figure.
//
// Goroutines: a fleet owns those of its proxies and waits for them in stop; a child's process is
// its parent's, which waits for its end. All traffic stays on loopback.
package main
