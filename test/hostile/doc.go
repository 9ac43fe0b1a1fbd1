// Command hostile attacks real mesh-proxy processes over real sockets, and says what they did about it.
//
// Each row is one attack at one position. As a server the proxy is attacked by a client: at its inbound port in plaintext
// and inside mTLS, and at its outbound port. As a client it is attacked by the server that it calls, in plaintext and as a
// hostile proxy inside mTLS. First one attacker comes, then a hundred of them.
//
// A row passes if the proxies are alive; if they grew no more than limits.go says; if what a well-behaved client saw
// meanwhile is within its bound; if each attacker was answered as the row demands, in time; if the proxy counted it; and if
// no goroutine is left. It exits 3, with a line for each row that failed.
//
// Attackers come at a fixed rate, and stop when they are answered: it is the proxy that is measured, not the machine's CPU.
// What hits a client that calls the application past the proxy, at the same time, is the machine too. All traffic stays on
// loopback; what was started ends with the program.
package main
