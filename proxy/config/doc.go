// Package config holds what the proxy can be told, and every limit it lives by, each with its
// reason.
//
// It reads the environment once, at start, and refuses what it does not understand by naming the
// variable. It starts no goroutines and imports nothing but the standard library, so that the
// injector can use its names.
package config
