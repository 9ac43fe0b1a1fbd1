package proxy_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// Strict is strict for what is no HTTP too: bytes that nobody knows, and TLS that is not the
// mesh's.
func TestStrictRefusesOpaqueAndForeignTLS(t *testing.T) {
	m := newMesh(t, 0)
	hello := foreignHello(t)
	web := pod{"web-0", echo(t), loopback.Free()}
	m.service("web", web)
	callee := m.proxy("web", web)
	reaches := func(first string) bool {
		c, err := net.Dial("tcp", callee.inbound)
		check(t, err)
		defer c.Close()
		check(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = io.WriteString(c, first)
		check(t, err)
		n, _ := io.ReadFull(c, make([]byte, len(first)))
		return n > 0
	}
	for _, first := range []string{"\x00opaque", string(hello)} {
		if !reaches(first) {
			t.Errorf("permissive: %q... does not reach the application", first[:4])
		}
	}
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\n"+
		"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}\n")
	for deadline := time.Now().Add(10 * time.Second); reaches("\x00opaque"); {
		if time.Now().After(deadline) {
			t.Fatal("strict: opaque bytes reach the application")
		}
	}
	if reaches(string(hello)) {
		t.Error("strict: foreign TLS reaches the application")
	}
}

// foreignHello is the first flight of a TLS client that is no proxy.
func foreignHello(t *testing.T) []byte {
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		defer far.Close()
		tls.Client(far, &tls.Config{ServerName: "example.org"}).Handshake() // fails: nobody answers
	}()
	b := make([]byte, 16<<10)
	n, err := near.Read(b)
	check(t, err)
	return b[:n]
}

// An application that will not switch protocols says so in its own words, and be it by answering as
// if nothing had been asked.
func TestAnUpgradeThatTheApplicationDeclines(t *testing.T) {
	m := newMesh(t, 0)
	url, _, _ := m.pair(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(426)
			io.WriteString(w, "not here")
			return
		}
		io.WriteString(w, "what upgrade?")
	}))
	for path, want := range map[string]int{"/no": 426, "/ignored": 200} {
		_, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(url, "http")+path, nil)
		if err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("%s: %v, %v; want %d", path, resp, err, want)
		}
	}
	if status, _, _ := get(t, http1Client(t), url+"/ignored"); status != 200 {
		t.Errorf("without an upgrade: %d", status)
	}
}
