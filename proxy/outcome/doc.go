// Package outcome has the ways in which a request may end, counts one that has, and tells whoever
// looks at it: the record, the hook that takes it, and the closed list of reasons. It is a leaf, so
// that who forwards need not know who looks. It has no goroutines.
package outcome
