// Package admin answers on the proxy's admin port: /ready, /live, /metrics, and for its own pod
// only /shutdown and /log-level. It speaks HTTP/1.1 by proxy/h1, the engine of the data path, so
// that the proxy links no other HTTP server.
//
//	GET  /ready      200 "ready", or 503 and one line for each thing that is still missing
//	GET  /live       200 "live": the process runs
//	GET  /metrics    the cells of proxy/metric for Prometheus
//	POST /shutdown   begins to drain; loopback only
//	GET  /log-level  debug, info, warn or error; loopback only
//	PUT  /log-level  sets it to the body, until somebody sets another; loopback only
//
// It refuses any other method with 405, a browser's cross-origin request (in dev mode the port is
// on a developer's machine), and more connections than its limits, since whoever reaches the pod
// reaches this port.
//
// Serve accepts on its caller's goroutine. Connections have their turns on wire's loops, where
// nothing may wait: so each page of metrics is made on a goroutine of its own, of maxScrapes at the
// most. All have ended when Close returns.
package admin
