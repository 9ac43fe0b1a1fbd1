// Package cli is meshctl: one file per verb, each a constructor that returns a cobra command.
//
// Data goes to standard output, everything else to standard error, so that every command can stand
// in a pipe. A command ends with 0 (done), 1 (it could not), 2 (it was asked wrongly) or 3 (it
// looked and found something: Findings).
//
// It refuses to keep state: what a command needs is in its flags, the kubeconfig and the cluster.
// It starts no goroutine that outlives the command; a port-forward ends with the stop function its
// caller was given.
package cli
