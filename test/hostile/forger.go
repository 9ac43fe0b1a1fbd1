package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// forger is a caller who writes a header that only proxies may write, in a request that it hopes is
// not taken for HTTP.
type forger struct {
	name string
	// pieces is what it says, given a request's fields, with a pause before each but the first.
	pieces func(fields string) []string
	pause  time.Duration
	want   wants
	// balanced pretends to be a load balancer, by a PROXY header.
	balanced bool
}

// wants are the outcomes that a forger may meet, with | between: of an application in HTTP/1 on a
// port that is declared and on one that is not, and of one in HTTP/2 likewise.
type wants struct{ declared, undeclared, declared2, undeclared2 string }

// beyondDetection is longer than two proxies, one after the other, wait for a caller's first bytes.
var beyondDetection = 2*limits.DetectTimeout + 100*time.Millisecond

// forgedFields ends a request's head. Some applications cannot tell a hyphen from an underscore.
func forgedFields(value string) string {
	return fmt.Sprintf("Host: app\r\nTulle-Client-Id: %[1]s\r\nTulle_Client_Id: %[1]s\r\n"+
		"Connection: close\r\n\r\n", value)
}

// Outcomes, besides a status that the proxy or the application answers with: that is a number, and
// "app" where the application refuses what the proxy has let through.
const (
	cut    = "cut"    // not a byte
	silent = "silent" // the connection goes on, without a byte
)

// not is what comes of HTTP/1 to an application of HTTP/2 only, on a port that is not declared: it
// is called as its caller calls.
const not = "502|503|" + cut

var (
	taken = wants{"200", "200", "200", not}
	// let is for what the engine lets through and a stricter application may refuse.
	let = wants{"200|app", "200|app", "200|app", not}
	// carried is what is opaque on an undeclared port, where the application refuses it.
	carried = wants{cut, "app|" + cut, cut, "GOAWAY PROTOCOL_ERROR|" + cut}
	never   = same("400")
)

// same wants one status everywhere.
func same(status string) wants { return wants{status, status, status, status} }

// says is a forger whose text has a pause where it has a |, and a request's fields for §.
func says(name string, want wants, text string) forger {
	return forger{name: name, want: want, pieces: func(fields string) []string {
		return strings.Split(strings.ReplaceAll(text, "§", fields), "|")
	}, pause: beyondDetection}
}

func forgers() []forger {
	var all []forger
	all = append(all, pausing()...)
	all = append(all, misspelling()...)
	all = append(all, disguised()...)
	return append(all, forgers2()...)
}

// pausing forgers are slow.
func pausing() []forger {
	all := []forger{
		says("at once", taken, "GET / HTTP/1.1\r\n§"),
		says("after silence", taken, "|GET / HTTP/1.1\r\n§"),
		says("a pause in the method", taken, "GE|T / HTTP/1.1\r\n§"),
		says("a pause after the method", taken, "GET |/ HTTP/1.1\r\n§"),
		says("a pause in the version", taken, "GET / HT|TP/1.1\r\n§"),
		says("a pause before the fields", taken, "GET / HTTP/1.1\r\n|§"),
		says("pauses everywhere", taken, "G|E|T| |/| HTTP/1.1\r\n|§"),
		says("an empty line, a pause", wants{"200", "200|app|" + cut, "200", not},
			"\r\n|GET / HTTP/1.1\r\n§"),
	}
	return append(all, alone(all[0], taken))
}

// misspelling forgers say a request line that is not quite one.
func misspelling() []forger {
	// Go's server says no length after CONNECT, as of 1.26.11, and takes nothing more: a tunnel.
	const tunnel = "200|502|app"
	later, long := same("505"), same("414")
	return []forger{
		says("a line of 17 KiB", long, "GET /"+repeat("x", 17<<10)+" HTTP/1.1\r\n§"),
		says("a line of 80 KiB", long, "GET /"+repeat("x", 80<<10)+" HTTP/1.1\r\n§"),
		says("a method of 17 KiB", long, repeat("A", 17<<10)+" / HTTP/1.1\r\n§"),
		says("a method in lower case", let, "get / HTTP/1.1\r\n§"),
		says("a method of 40 letters", let, repeat("A", 40)+" / HTTP/1.1\r\n§"),
		says("a method of odd letters", let, "!#$-.^_`~ / HTTP/1.1\r\n§"),
		says("like HTTP/2's preface", later, "PRI * HTTP/2.0\r\n§"),
		says("PRI as a method", let, "PRI / HTTP/1.1\r\n§"),
		says("HTTP/2.0 in a line", later, "GET / HTTP/2.0\r\n§"),
		says("HTTP/1.9", later, "GET / HTTP/1.9\r\n§"),
		says("HTTP/9.9 for a star", later, "GET * HTTP/9.9\r\n§"),
		says("a version in lower case", never, "GET / http/1.1\r\n§"),
		says("no version", never, "GET /\r\n§"),
		says("no version and no slash", never, "GET x\r\n§"),
		says("empty lines first", never, "\r\n\r\n\r\nGET / HTTP/1.1\r\n§"),
		says("a blank first", never, " GET / HTTP/1.1\r\n§"),
		says("tabs between", never, "GET\t/\tHTTP/1.1\r\n§"),
		says("blanks of ISO 8859-1", never, "GET\xa0/\xa0HTTP/1.1\r\n§"),
		says("separators of ASCII", never, "GET\x1c/\x1dHTTP/1.1\r\n§"),
		says("line feeds only", never, "GET / HTTP/1.1\n§"),
		says("absolute form", let, "GET http://app/ HTTP/1.1\r\n§"),
		says("absolute form of another scheme", never, "GET ftp://app/ HTTP/1.1\r\n§"),
		// An application that answers it as any method would read on in the tunnel.
		says("CONNECT", wants{tunnel, tunnel, not, not}, "CONNECT app:443 HTTP/1.1\r\n§"),
		says("CONNECT, then a request", wants{tunnel, tunnel, not, not},
			"CONNECT app:443 HTTP/1.1\r\nHost: app\r\n\r\nGET / HTTP/1.1\r\n§"),
		says("CONNECT, a pause, a request", wants{tunnel, tunnel, not, not},
			"CONNECT app:443 HTTP/1.1\r\nHost: app\r\n\r\n|GET / HTTP/1.1\r\n§"),
		says("an upgrade that is declined, a pause, a request",
			wants{let.declared, let.undeclared, not, not},
			"POST / HTTP/1.1\r\nHost: app\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"+
				"|GET / HTTP/1.1\r\n§"),
		says("OPTIONS *", let, "OPTIONS * HTTP/1.1\r\n§"),
		bareReturns(carried),
	}
}

// disguised forgers say something else before a request, or around it.
func disguised() []forger {
	all := []forger{
		says("a PROXY header first", never,
			"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n§"),
		says("a PROXY header, a pause",
			wants{"400", "400|" + carried.undeclared, "400", "400|" + carried.undeclared2},
			"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n|GET / HTTP/1.1\r\n§"),
		says("a binary PROXY header first", never,
			"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00GET / HTTP/1.1\r\n§"),
		says("a byte of no method first", never, "\x00GET / HTTP/1.1\r\n§"),
		says("a byte of no method, in two pieces", carried, "\x00G|ET / HTTP/1.1\r\n§"),
		says("a method in brackets", never, "(GET) / HTTP/1.1\r\n§"),
		says("a method in brackets, in two pieces", carried, "(GET)| / HTTP/1.1\r\n§"),
		says("a word, then the rest of a line", let, "ruok| / HTTP/1.1\r\n§"),
		says("a word, then a request", carried, "ruok|\r\nGET / HTTP/1.1\r\n§"),
		says("a line of a word, then a request", carried, "PING\r\n|GET / HTTP/1.1\r\n§"),
		says("redis, then a request", carried, "*1\r\n$4\r\nPING\r\n|GET / HTTP/1.1\r\n§"),
		says("memcached, then a request", carried, "get key\r\n|GET / HTTP/1.1\r\n§"),
		says("a ClientHello, then a request", carried, helloWith("")+"|GET / HTTP/1.1\r\n§"),
		hiddenInHello(carried),
	}
	all = append(all, alone(all[0], all[1].want))
	for i := range all {
		all[i].balanced = strings.Contains(all[i].name, "PROXY")
	}
	return all
}

// alone says every byte by itself. On a busy machine that is a pause, wherever it happens.
func alone(f forger, want wants) forger {
	whole := f.pieces
	f.name, f.pause, f.want = f.name+", every byte alone", 5*time.Millisecond, want
	f.pieces = func(fields string) []string {
		return strings.Split(strings.Join(whole(fields), ""), "")
	}
	return f
}

// bareReturns end the lines of a server that takes a carriage return for a line's end.
func bareReturns(want wants) forger {
	pieces := func(fields string) []string {
		return []string{"GET *\rX", strings.ReplaceAll("\r"+fields, "\r\n", "\r"), "\n\n"}
	}
	return forger{name: "carriage returns only", want: want, pause: beyondDetection, pieces: pieces}
}

// helloWith is a ClientHello that asks for a protocol by some name.
func helloWith(name string) string {
	ours, theirs := net.Pipe()
	defer ours.Close()
	cfg := &tls.Config{InsecureSkipVerify: true, ServerName: "app"}
	if name != "" {
		cfg.NextProtos = []string{name}
	}
	go tls.Client(theirs, cfg).Handshake()
	b := make([]byte, 16<<10)
	n, _ := ours.Read(b) // the pipe's writer is there
	return string(b[:n])
}

// hiddenInHello is a ClientHello in which a server that takes any word for a method finds a
// request.
func hiddenInHello(want wants) forger {
	pieces := func(fields string) []string {
		return []string{helloWith(" / HTTP/1.1\r\n" + fields)}
	}
	return forger{name: "a request inside a ClientHello", want: want, pieces: pieces}
}

// forgers2 speak HTTP/2.
func forgers2() []forger {
	// An application of HTTP/1 only, on a port that is not declared, is called as its caller calls.
	taken := wants{"200", "app|502|503", "200", "200"}
	// nginx speaks first, if it has to wait.
	paused := wants{"200", "app|502|503", "200", "200|" + cut}
	cutAt := func(name string, pause time.Duration, want wants, at ...int) forger {
		cut := func(fields string) (pieces []string) {
			whole, from := string(forgedFrames(fields)), 0
			for _, to := range append(at, len(whole)) {
				pieces = append(pieces, whole[from:to])
				from = to
			}
			return pieces
		}
		return forger{name: name, pause: pause, want: want, pieces: cut}
	}
	each := make([]int, len(clientPreface))
	for i := range each {
		each[i] = i + 1
	}
	prefixed := func(name, first, status string) forger {
		f := cutAt(name, 0, wants{status, status, status, status})
		inner := f.pieces
		f.pieces = func(fields string) []string {
			return []string{first + strings.Join(inner(fields), "")}
		}
		return f
	}
	return []forger{
		cutAt("HTTP/2", 0, taken),
		cutAt("HTTP/2, a pause in the preface", beyondDetection, paused, 10),
		cutAt("HTTP/2, pauses in the preface", beyondDetection, paused, 1, 18, 23),
		cutAt("HTTP/2, the preface byte by byte", 5*time.Millisecond, paused, each...),
		prefixed("HTTP/2, an empty line first", "\r\n", "505"),
		prefixed("HTTP/2, a PROXY header first", "PROXY UNKNOWN\r\n", "400"),
	}
}

// forgedFrames is a request in HTTP/2, whose fields are those of the text.
func forgedFrames(fields string) []byte {
	var out, block bytes.Buffer
	io.WriteString(&out, clientPreface)
	f := http2.NewFramer(&out, nil)
	f.WriteSettings() // a buffer takes everything, here and below
	enc := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "app"}, {Name: ":path", Value: "/"},
	} {
		enc.WriteField(h)
	}
	for line := range strings.Lines(fields) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if name = strings.ToLower(name); ok && strings.HasPrefix(name, "tulle") {
			enc.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
	}
	f.WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true,
	})
	return out.Bytes()
}
