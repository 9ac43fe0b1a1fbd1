// Package files fills a registry from a directory of YAML documents, the same kinds as on
// Kubernetes: a mesh without a cluster.
//
// The directory is watched. A file that is wrong is reported with its line, and what was in it
// before stays in use; a file of several documents counts as a whole or not at all. The first
// reading must be without fault.
//
// It refuses kinds and fields that destination does not use, and a file without content: an editor
// that writes in place truncates the file first.
//
// Source.Run owns its goroutine and the watcher's.
package files
