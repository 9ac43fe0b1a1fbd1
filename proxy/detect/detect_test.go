package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// hello is the first flight of a TLS client.
func hello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Client(client, cfg).Handshake()
	b := make([]byte, 32<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestClassify(t *testing.T) {
	ours := string(hello(t, &tls.Config{ServerName: "8080" + config.SNISuffix, NextProtos: []string{config.ALPNHTTP}}))
	for _, tt := range []struct {
		name, bytes string
		want        api.Protocol
	}{
		{"request", "GET / HTTP/1.1\r\n", api.Protocol_PROTOCOL_HTTP1},
		{"unknown method", "FROB-NICATE /x HTTP/1.0\r\n", api.Protocol_PROTOCOL_HTTP1},
		{"preface", http2Preface, api.Protocol_PROTOCOL_HTTP2},
		{"client hello", ours, api.Protocol_PROTOCOL_TLS},
		{"redis", "*1\r\n$4\r\nPING\r\n", api.Protocol_PROTOCOL_OPAQUE},
		{"lower case", "get / HTTP/1.1\r\n", api.Protocol_PROTOCOL_OPAQUE},
		{"a line that is no request", "HELO example.org\r\n", api.Protocol_PROTOCOL_OPAQUE},
		{"a record that is no handshake", "\x17\x03\x03\x00\x05hello", api.Protocol_PROTOCOL_OPAQUE},
		{"server hello", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", api.Protocol_PROTOCOL_OPAQUE},
		{"empty record", "\x16\x03\x03\x00\x00", api.Protocol_PROTOCOL_OPAQUE},
		{"no method", " / HTTP/1.1\r\n", api.Protocol_PROTOCOL_OPAQUE},
		{"long word", strings.Repeat("A", 40), api.Protocol_PROTOCOL_OPAQUE},
	} {
		for n := range len(tt.bytes) { // no prefix is mistaken for something else
			if p, sure := classify([]byte(tt.bytes[:n])); sure && p != tt.want {
				t.Fatalf("%s: the first %d bytes are taken for %v", tt.name, n, p)
			}
		}
		if p, sure := classify([]byte(tt.bytes)); !sure || p != tt.want {
			t.Errorf("%s: %v, sure %v; want %v", tt.name, p, sure, tt.want)
		}
	}
}

func TestMeshHelloNeedsOurALPNAndSNI(t *testing.T) {
	for _, tt := range []struct {
		sni  string
		alpn []string
		port string
		ok   bool
	}{
		{"8080.tulle", []string{config.ALPNHTTP}, "8080", true},
		{"8080.tulle", []string{config.ALPNTCP}, "8080", true},
		{"8080.tulle", []string{"h2"}, "", false},
		{"example.org", []string{config.ALPNHTTP}, "", false},
		{"8080.tulle", nil, "", false},
	} {
		h, ok, _ := parseClientHello(hello(t, &tls.Config{ServerName: tt.sni, NextProtos: tt.alpn}))
		port, mesh := h.mesh()
		if !ok || mesh != tt.ok || (mesh && port != tt.port) {
			t.Errorf("%+v: port %q, mesh %v, parsed %v", tt, port, mesh, ok)
		}
	}
}

func TestSilenceIsOpaqueAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		began := time.Now()
		go io.WriteString(client, "GE")
		d, err := detect(server)
		if err != nil || d.protocol != api.Protocol_PROTOCOL_OPAQUE || string(d.peeked) != "GE" {
			t.Errorf("got %v, %q, %v", d.protocol, d.peeked, err)
		}
		if waited := time.Since(began); waited != config.DetectTimeout {
			t.Errorf("waited %v, want %v", waited, config.DetectTimeout)
		}
	})
}

func FuzzDetect(f *testing.F) {
	recorded, err := os.ReadFile("testdata/clienthello")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"GET / HTTP/1.1\r\n", http2Preface, string(recorded), "\x16\x03\x01\x00\x01\x01", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, sure := classify(b)
		if h, ok, more := parseClientHello(b); ok && more {
			t.Errorf("a hello that is whole and not: %+v", h)
		}
		// More bytes never change an answer that was sure.
		if q, still := classify(append(b, "GET / HTTP/1.1\r\n"...)); sure && (!still || p != q) {
			t.Errorf("%v became %v", p, q)
		}
	})
}
