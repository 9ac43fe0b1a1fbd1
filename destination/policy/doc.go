// Package policy is the form between what users write about traffic and what proxies are told.
//
//	kinds → Route → Merge → Policy → messages
//	kinds → Traffic → UseOf → Use → messages
//
//	route.go    Route: one object's wishes, whatever its kind
//	profile.go  ServiceProfile → Route
//	gateway.go  the Gateway API's routes → Route: what all kinds of them have in common
//	httproute.go, grpcroute.go, filter.go, field.go  their rules, matches and filters
//	connection.go  those of routes that are about connections, which are carried unread
//	extension.go  the filters of HTTPRoutes and GRPCRoutes that are the mesh's own
//	merge.go    which routes count for a caller, and in which order: precedence, in one place
//	message.go  Policy → the rules, backends and budgets of a message
//	traffic.go  BackendTrafficPolicy → Traffic
//	use.go      which of them counts for a caller, section by section; Use → clusters, budgets
//	ratelimit.go  RateLimitPolicy → messages: all of them count, for whoever calls
//
// A new kind is one function to Route. Conditions and filters are package api's messages already:
// those are neutral, and every kind's conditions can be said in them.
//
// It refuses to know the cluster: a Backend is a name, and whoever makes the message says which
// cluster that is. All functions are pure.
package policy
