// Package explain says what becomes of a request before anybody makes it: each step from its
// caller's proxy to the application behind another, and which object's field decides it.
//
// It decides nothing by itself. It gives what destination tells that very caller, and the callee's
// proxy, to the stages that proxies run (discover, route, balance, authorize), and puts into words
// what they answer. So it knows what is configured, and not how endpoints do: which of them are
// ejected only each caller's proxy knows.
//
// It starts nothing and opens no connection; whoever calls it fetches what destination says.
package explain
