// Package layout holds the project's shape by tests: who may import whom, and what the proxy's
// binary links. It has no code.
package layout
