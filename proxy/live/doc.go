// Package live keeps the things of one kind that exist at the moment, such as connections, so that
// their owner can end them all. It has no goroutines.
package live
