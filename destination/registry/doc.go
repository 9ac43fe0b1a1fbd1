// Package registry is the model of the cluster that destination answers from: workloads, services,
// slices of endpoints, nodes, namespaces and policies, none of them in Kubernetes' own types.
//
// Sources (packages kube, files and consul) fill it side by side. Each source has an Owner, and
// changes only what that Owner put there. Two sources may name one object: the older of the two
// counts, but of services one whose source knows ports before one whose source does not, and slices
// of endpoints of all sources count together.
//
//	model.go     the objects
//	labels.go    labels, interned: few sets of them are on many objects
//	registry.go  what is known, by kind and name, and whose it is
//	index.go     ways to an object that do not go by its name: addresses, services, workloads
//	topic.go     what an answer depends on, and what has been touched of that
//	touch.go     what a change touches, and whether something is lost by it
//	health.go    what workloads' proxies say of their applications
//	watch.go     how a source's reading stands
//	view.go      reading, which remembers the topics that it read
//
// Objects are immutable once a source has put them here: readers and the source share them.
//
// It refuses to decide anything: what an object means to a caller is destination's business.
// It starts no goroutine, does no I/O, and never blocks: an event changes indexes under a short
// lock, and marks the topics whose answers have to be computed again.
package registry
