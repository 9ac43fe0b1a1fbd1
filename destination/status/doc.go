// Package status tells users what has become of the policies they wrote: it turns what destination
// knows of a policy into conditions, and writes them into the policy's object.
//
//	conditions.go  facts → the status that an object should have (pure)
//	route.go       the same for routes of the Gateway API, by parent (pure)
//	target.go      the same for policies that are attached by reference, by target (pure)
//	writer.go      the leader's writer: server-side apply of the status subresource
//	parents.go     how those of routes and policies are written: beside what others say in the
//	               same list
//
// One replica writes, the one that holds a Lease: replicas of two versions, which may judge
// differently, would otherwise undo each other's work for ever. It writes only where an object's
// status differs from what it should be, and owns only the conditions named here; those of other
// controllers stay.
//
// It refuses to read the cluster by itself: what to write is a question that destination answers
// from the registry, like the questions of proxies.
//
// Writer.Run owns all goroutines here.
package status
