package viz

import "github.com/tulle-mesh/tulle/proxy/outcome"

// advice is what to do about each reason of the closed list, for whoever has to find out. It is
// here, and not beside the list, for proxies have no use for it.
var advice = map[outcome.Reason]string{
	outcome.NoRoute: "check the name and port that was called, and that a Service or a rule of" +
		" its routes is for it: 'meshctl diagnostics endpoints' asks destination",
	outcome.NoEndpoints: "see whether the service's pods run and are ready: 'kubectl get pods'," +
		" or 'meshctl dev status'",
	outcome.QueueFull: "the callee is slower than it is called: give it more replicas, or raise" +
		" the limits of its BackendTrafficPolicy",
	outcome.QueueTimeout: "the callee takes too few requests at once: give it more replicas, or" +
		" raise the connections of its BackendTrafficPolicy",
	outcome.ConnectFailed: "see whether the pod at that address runs and its application listens" +
		" on that port: its log says why not",
	outcome.ConnectTimeout: "nothing answers at that address: look for a NetworkPolicy, a node" +
		" that is away, or a pod that hangs",
	outcome.TLSFailed: "the two proxies do not trust each other, or a certificate has ended:" +
		" 'meshctl check' looks at both",
	outcome.IdentityMismatch: "the address belongs to another pod by now, or somebody is in" +
		" between: if it lasts, 'meshctl viz edges' shows who answers there",
	outcome.RefusedStream: "the callee was ending, or nobody listens on that port: it is safe to" +
		" send again; see whether its pods restart",
	outcome.ResetByPeer: "the application broke off in the middle: its log, and whether it was" +
		" restarted (out of memory?), say why",
	outcome.RequestTimeout: "find the slow part in 'meshctl viz traces', then make it faster, or" +
		" raise the route's timeout",
	outcome.TryTimeout: "one try took too long: raise the route's timeout for a try, or allow" +
		" another one (retries)",
	outcome.IdleTimeout: "nothing moved for too long: if that is meant, raise the idle timeout" +
		" of its BackendTrafficPolicy",
	outcome.DeadlinePassed: "the caller's own deadline was over before: it must give more time," +
		" or those before must take less",
	outcome.ClientGone: "the caller did not wait for the answer: raise its timeout, or find out" +
		" why the answer took so long",
	outcome.RetryBudget: "so many requests fail that no more are tried again: mend what fails;" +
		" 'meshctl viz routes' shows which",
	outcome.RetryLimit: "all tries failed alike: mend the callee; more tries would hardly help",
	outcome.Denied: "the callee does not admit this caller: see its policy's rules, and under" +
		" which identity the caller came",
	outcome.BadRequest: "the request cannot be said in the callee's protocol: see whether the" +
		" Service's appProtocol is true",
	outcome.HeaderTooLarge: "a head is too long: look for a cookie or a token that grows",
	outcome.Overload: "the proxy is at its limit of memory or connections: raise its limits, or" +
		" give the workload more replicas",
	outcome.Draining: "the pod was ending: if this is seen often, let it drain longer than its" +
		" longest request takes",
	outcome.RouteAnswer: "a route says so, and nobody was asked: change the rule if it is not" +
		" meant",
	outcome.ClusterLimit: "more requests at once than the BackendTrafficPolicy admits: raise its" +
		" limits, or give the callee more replicas",
	outcome.RateLimited: "the caller asks more often than the RateLimitPolicy admits: make it" +
		" ask less, or raise the limit",
	outcome.FaultInjected: "a FaultInjection does this on purpose: delete it, or let it run out",
	outcome.Loop: "the application calls its own proxy: have it call the service by its name" +
		" instead",
}

// AdviceFor is what to do about a reason's word; empty: nothing is known of it.
func AdviceFor(word string) string { return advice[reasonOf(word)] }
