// Package gate stands between browsers and viz: it lets those in that a user has given an address
// with a token to.
//
// The files: gate (who is let in), proxy (the way on to viz), serve (on a listener).
//
// Viz answers questions on loopback to whoever reaches it, and who that is, RBAC decides by who may
// forward a port. A browser is another matter: any site that its user looks at can send requests to
// loopback. So viz itself refuses whatever a browser has sent, and the gate, which runs in the
// user's own process ('meshctl dashboard', 'meshctl dev up'), is the browsers' way in:
//
//   - The printed address has a token of 256 random bits. It is good once, and is exchanged for a
//     cookie that scripts cannot read (HttpOnly) and that no other site's requests carry
//     (SameSite=Strict). Without either, nothing of the mesh is answered.
//   - The Host must be loopback: a site that points its own name at 127.0.0.1 (DNS rebinding) sends
//     that name, and would not get the cookie either, which is for the host alone.
//   - Requests that another site's page causes (Origin, Sec-Fetch-Site) are refused even with the
//     cookie; a click on the address, wherever it is shown, is not.
//   - Other users of the machine can connect to the port, and get nothing without the token, which
//     is printed to the user's terminal alone. While a port is forwarded they can ask viz through
//     that port, though, as they can during every 'meshctl viz': who cannot trust them does not
//     forward ports on their machine. Cookies know no ports: another server on the same loopback
//     address sees the cookie if this browser visits it, so a session ends after twelve hours
//     without use, and with its process.
//
// Why here and not in viz: who may forward a port may ask everything already, so viz has nothing to
// add; it keeps no sessions, and a page goes on when viz, or one of its replicas, is gone and
// another answers.
//
// It only reads: methods other than GET and HEAD are refused. Serve owns its goroutine, and returns
// when that and the server have ended.
package gate
