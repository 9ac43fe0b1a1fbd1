// Package viz collects the golden metrics that proxies report, keeps an hour of them in memory, and
// answers questions: stat, edges, routes, backends, top, tap.
//
// The files follow a report's way: server (the stream, and who is on it) → report (what is refused)
// → store (cumulative totals of each proxy's life) → whole (what a workload's pods have counted
// together) → history (a ring of what happened in each five seconds). Questions come in through
// http, as the types of query.go, and are answered by stat, edges, routes, backends and top over
// collect, which sums series into rows (figures): wholes, so that the pods are no matter, unless
// the question tells pods apart. What wholes did in the last minute is summed up as it comes
// (recent), and of the rows of edges and top the busiest are found by that alone (ranking). Where
// there are many proxies, an answer is remembered for its second (answers). The page (web) is
// answered by graph, which drawing gives places to (layered), and course. For Prometheus the same
// reports are summed by workload (flow), in our names, Linkerd's and Istio's (views), on a page of
// their own (prometheus). Callers' requests are counted for service level objectives (objectives),
// which package slo keeps and judges.
//
// Single requests come on a stream of their own (recordstream), while somebody wants to see them. A
// tap (tapquery, taphttp) says which; hub tells the proxies, and gives each asker what they show,
// once both proxies of a request have told of it (halves). Nothing of that is kept. On the same
// stream proxies are asked how the endpoints that they call are doing (endpoints, survey): what
// only they know, and only when somebody wants to know it.
//
// What a number means. Counters are cumulative since a proxy's start and are kept under the
// reporter and its start id, so a row's totals are the sum of the last values that each of its
// proxies sent: nothing is lost or doubled when a stream, a proxy or viz restarts. Proxies that
// ended count for an hour more, as do series that a proxy has forgotten (past). Rates and quantiles
// come from the history, that is, from what viz itself saw change; after a restart of viz they
// start from nothing and never show the past as a spike. A rate divides by the time that the
// proxies' own clocks say was covered. A workload's figures are measured by its own proxies
// (inbound), a service's by its callers' (outbound: what the application saw, and what was really
// sent).
//
// Single requests, which proxies tell of one by one (recorded), are kept apart from that for as
// long as there is room (records): traces are put together from them when somebody asks (tree,
// traces), as are the two halves of a request (requests), what became of it (why, advice), and who
// does not pass on the headers of traces (propagation).
//
// It refuses to believe a proxy about who it is: namespace, account and pod come from the
// certificate. It refuses reports that are malformed or too large, and answers questions on
// loopback only, for reading only, to no browser but through a gate (package gate), and Prometheus
// only on a listener that it is given for that. It
// believes of a proxy's calls no more than a proxy can do (mostPerSecond) in a time that our own
// clock confirms. It knows no Kubernetes.
//
// Memory is bounded: SeriesBudget for what proxies are and have counted, HistoryBudget for the
// ring, RecordsBudget for single requests, and maxStreams streams. What grows beyond a budget is
// refused, and whoever asks is told; of single requests the oldest go. Totals are kept packed, as
// the history is, and equal labels once, and equal texts of different ones (labelsets). What is
// summed for Prometheus has maxFlows, and what is kept for objectives slo.MaxBytes.
//
// Several replicas know nothing of each other but that they are there (replicas): each proxy
// reports to all of them.
//
// Viz works at maxQuestions at a time, while others wait for turnTimeout, and has maxOpenAnswers
// that go on.
//
// Of taps there are maxTaps, each with a queue of tapQueue, and maxMeetings requests wait for their
// other halves. Of questions about endpoints there are api.MaxQuestions at a time, each for
// maxAskedProxies, which endpointsWait ends.
//
// Where taps need a session (tapsessions), who may watch what is decided elsewhere, and viz is
// told by SetSessions: a tap is confined to its session's namespace, ends with it, and is written
// down before it begins. What a tap alone makes proxies tell is then kept for nobody else.
//
// Goroutines: Server.Serve owns the gRPC and HTTP servers and ends when its context does, after
// every stream has ended; ServeMetrics likewise its own.
package viz
