// Package outcome has the ways in which a request may end, and counts one that has. It is a leaf,
// so that who forwards need not know who looks. It has no goroutines.
package outcome
