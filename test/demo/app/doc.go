// Package app is the sample application of the demo: a shop.
//
//	web → checkout → inventory
//	               → payments, in two versions
//	               → delivery, one of three of which is broken
//	legacy → checkout, without a proxy
//
// Some of it misbehaves on purpose, so that a mesh has something to do: inventory's /stock fails
// three times in ten, one of delivery's instances always, checkout's /broken always, and checkout's
// /slow answers long after anybody should wait.
//
// The services know nothing of a mesh. Each ends its requests when it is told to end, as any good
// service does.
package app
