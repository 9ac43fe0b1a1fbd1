// Package header has the mesh's own header fields, who may set them and who believes them, and what
// a field may be called and say at all. It is pure and has no goroutines. Which fields a filter
// changes is package route's.
package header
