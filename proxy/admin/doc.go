// Package admin answers on the proxy's admin port: /ready, /live, /metrics, and for its own pod only /shutdown and
// /log-level. It is the only user of net/http and of client_golang in the proxy; the data path uses neither.
//
//	GET  /ready      200 "ready", or 503 and one line for each thing that is still missing
//	GET  /live       200 "live": the process runs
//	GET  /metrics    the cells of proxy/metric for Prometheus
//	POST /shutdown   begins to drain; loopback only
//	GET  /log-level  debug, info, warn or error; loopback only
//	PUT  /log-level  sets it to the body; loopback only
//
// It refuses any other method with 405, a browser's cross-origin request (in dev mode the port is on a developer's
// machine), and more connections than its limits, since whoever reaches the pod reaches this port.
//
// Serve runs on its caller's goroutine; net/http's connection goroutines end with Close.
package admin
