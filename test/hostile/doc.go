// Command hostile attacks real mesh-proxy processes over real sockets, and says what they did about
// it.
//
// Each row is one attack at one position. As a server the proxy is attacked by a client: at its
// inbound port in plaintext and inside mTLS, and at its outbound port. As a client it is attacked
// by the server that it calls, in plaintext and as a hostile proxy inside mTLS.
//
// A row passes if the proxies are alive; if they grew no more than limits.go says; if what a
// well-behaved client saw meanwhile is within its bound; if each attacker was answered as the row
// demands, in time; if the proxy counted it; and if no goroutine is left. It exits 3, with a line
// for each row that failed.
//
// Attackers come at a fixed rate, and stop when they are answered: it is the proxy that is
// measured, not the machine's CPU. What hits a client that calls the application past the proxy, at
// the same time, is the machine too. All traffic stays on loopback; what was started ends with the
// program.
//
// First one attacker comes, then a hundred; those that do nothing forbidden are all there at once.
// Slow ones, which only a timeout of the proxy ends, are beside the hundreds.
//
// # Every listener
//
// After the proxies, each listener of each server is attacked from one address, by silence, idle
// connections, floods of streams, large messages and garbage, while a good caller from another
// makes one call after the other, each over a new connection: destination, its questions, identity,
// viz's reports, the single requests that it is told of, its questions, taps among them, by leave
// and by leave that is made up, the injector's webhook, their pages for probes, what `meshctl dev`
// serves in one process, and a proxy's admin port, its inbound port in plaintext and inside mTLS,
// and its outbound port. A row passes if all attackers came, if every good call was answered in
// time, the last of which began when all of them were there, and if the server's resident memory
// stayed within its container's limit, as the manifest or the injector has it. A server is a child
// of this program that runs its real code; only the API server is not real.
//
// destination, identity and viz have a tenth of their connections here, for they reckon them by
// GOMEMLIMIT: so attackers from one address would take all of them, were they let.
//
// # What is taken for HTTP
//
// Last comes a table of all the ways to write tulle-client-id oneself in a request that does not
// look like one at first. Each row is one of them, said at once to nginx, Python's http.server and
// Go's net/http, in HTTP/1 and in cleartext HTTP/2, each behind proxies of its own: on a port that
// is declared and on one that is not, in a permissive workload and in a strict one, by a caller in
// plaintext and by an application through its own proxy. A cell passes if the server was never told
// what the caller made up, by the server's own word, and if what came of it is what the row says. A
// good caller calls at each of the doors meanwhile, and at those of a server with TLS of its own,
// which must arrive as it is or not at all. The servers are made as lenient as they can be, and
// must believe a caller who comes past the proxy. One that is not installed is a failure.
//
// # What shows what
//
// Every class of attack that the proxy is held to, and its rows here, or the part of make
// conformance or the test that has it. A row whose name begins with "server:" is the same for the
// proxy as a client.
//
//	rapid reset                        rapid reset; streams beyond the limit
//	made-you-reset                     made you reset: ...
//	CONTINUATION flood                 CONTINUATION flood, full frames; server: headers without an
//	                                   end
//	HPACK bomb, cookie crumbs          HPACK bomb; cookie crumbs; 101 tiny fields; conformance:
//	                                   misbehave (table size)
//	trailer declarations               trailers of 101 fields; 101 trailers
//	PING, SETTINGS, RST floods         each by name; answers nobody reads:
//	                                   h2.TestUnreadAnswersAreBounded
//	INITIAL_WINDOW_SIZE churn          INITIAL_WINDOW_SIZE churn, in one frame; server: up and
//	                                   down
//	HEADER_TABLE_SIZE race             HEADER_TABLE_SIZE churn; go test -race ./proxy/h2
//	MAX_FRAME_SIZE of 0                MAX_FRAME_SIZE of 0
//	unknown frames                     unknown frames
//	empty frames, 1-byte DATA          empty DATA; DATA of nothing but padding; DATA byte by byte;
//	                                   1-byte chunks
//	PRIORITY, WINDOW_UPDATE floods     each by name, on the connection and on a stream
//	zero window, slow read             windows of 0 ...; large answers that nobody reads; a window
//	                                   of 0 for a large answer (ended by BodyStall); server: a
//	                                   window of 0, given byte by byte; server: takes no body
//	window overflow, double refund     the connection's window overflows; RST with data under way;
//	                                   server: ... by INITIAL_WINDOW_SIZE
//	header size                        a header of 128 KiB; a head of 1 MiB; a request line of 64
//	                                   KiB; conformance: frames (HPACK stays in step)
//	heads of requests that wait        streams without an answer, and with longer heads;
//	                                   proxy.TestLongHeadsOfAllCallersAreBounded
//	preface, handshake, header trickle trickled preface, head, frame; no SETTINGS; a handshake
//	                                   that stops; no (further) request; a ClientHello, a preface
//	                                   that trickles in
//	a server's door                    silence, idle connections, floods of streams, large
//	                                   messages, garbage: each at every listener
//	not HTTP by the proxy's word       detection: ...;
//	                                   proxy.TestNoCallerForgesAnIdentityByNotLookingLikeHTTP
//	label cardinality                  names made up
//	HTTP/2 to HTTP/1 headers           conformance: frames
//	content-length and DATA differ     conformance: frames, misbehave; server: content-length
//	                                   differs
//	CR, LF, NUL, colon, space          conformance: frames, requests
//	trailers                           conformance: frames, requests;
//	                                   proxy.TestReservedHeadersInEveryDirection
//	CL+TE and their spellings          conformance: requests; content-length and chunked
//	obs-fold, bare LF, chunk syntax    conformance: requests; a chunk extension of 64 KiB
//	bodies on GET, Expect, early       conformance: requests, responses, differential;
//	                                   proxy.TestEarlyAnswers
//	CONNECT, Upgrade                   conformance: requests; server: switches protocols unasked;
//	                                   proxy.TestUpgradedConnectionsEndAsTheyWere
//	responses                          conformance: responses, misbehave; server: two
//	                                   content-lengths, unsolicited bytes
//	Host and :authority; path          conformance: requests, frames
//	policy matchers                    the tests of destination and
//	                                   proxy.TestProbesAreNotTranslated
//	underscores in names               conformance: requests (framing and identity in the spelling
//	                                   of CGI); proxy.TestReservedHeadersInEveryDirection
package main
