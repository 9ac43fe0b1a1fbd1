package dev

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/await"
)

// echo answers every connection with what it sends, in pieces that the test chooses by flushing.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func startRelay(t *testing.T, target, marker string, owner func(*net.TCPAddr) string) *relay {
	t.Helper()
	r, err := newRelay(relayConfig{listen: "127.0.0.1:0", to: "checkout-0", target: target,
		marker: marker, owner: owner, log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeRelay(t, r) })
	return r
}

func closeRelay(t *testing.T, r *relay) {
	t.Helper()
	await.Return(t, "the relay's end", r.close)
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(await.Limit))
	return c.(*net.TCPConn)
}

// exchange sends pieces one at a time, each echoed before the next, so that every one is a read of
// its own.
func exchange(t *testing.T, c *net.TCPConn, pieces ...string) {
	t.Helper()
	for _, piece := range pieces {
		if _, err := io.WriteString(c, piece); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(piece))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != piece {
			t.Fatalf("echo of %q: %q, %v", piece, got, err)
		}
	}
	c.CloseWrite()
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

func TestRelayRecords(t *testing.T) {
	nobody := func(*net.TCPAddr) string { return "web-0" }
	cases := []struct {
		name   string
		pieces []string
		want   Record
	}{
		{"no marker", []string{"hello"}, Record{BytesTo: 5, BytesFrom: 5}},
		{"one", []string{"xMARKERx"}, Record{BytesTo: 8, BytesFrom: 8, Markers: 2}},
		{"across two reads", []string{"xMAR", "KERx"},
			Record{BytesTo: 8, BytesFrom: 8, Markers: 2}},
		{"byte by byte", strings.Split("MARKERMARKER", ""),
			Record{BytesTo: 12, BytesFrom: 12, Markers: 4}},
		{"never counted twice", []string{"MARKER", "R", "KER"},
			Record{BytesTo: 10, BytesFrom: 10, Markers: 2}},
		{"TLS", []string{"\x16\x03\x01", "..."}, Record{BytesTo: 6, BytesFrom: 6, TLS: 1}},
		{"TLS only if it begins so", []string{"x", "\x16"}, Record{BytesTo: 2, BytesFrom: 2}},
		{"nothing", nil, Record{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := startRelay(t, echo(t), "MARKER", nobody)
			exchange(t, dial(t, r.l.Addr().String()), c.pieces...)
			closeRelay(t, r)
			c.want.From, c.want.To, c.want.Connections = "web-0", "checkout-0", 1
			if got := r.list(); !reflect.DeepEqual(got, []Record{c.want}) {
				t.Errorf("recorded %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestRelayLarge(t *testing.T) {
	r := startRelay(t, echo(t), "MARKER", func(*net.TCPAddr) string { return "" })
	c := dial(t, r.l.Addr().String())
	text := bytes.Repeat([]byte("0123456789MARKERx"), 100_000)
	go func() { c.Write(text); c.CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, text) {
		t.Fatalf("%d bytes came back of %d: %v", len(got), len(text), err)
	}
	closeRelay(t, r)
	if rec := r.list()[0]; rec.Markers != 200_000 {
		t.Errorf("%d markers, want 200000", rec.Markers)
	}
}

// close must not wait for peers that say nothing.
func TestRelayCloseEndsConnections(t *testing.T) {
	r := startRelay(t, echo(t), "MARKER", func(*net.TCPAddr) string { return "" })
	c := dial(t, r.l.Addr().String())
	io.WriteString(c, "x")
	io.ReadFull(c, make([]byte, 1))
	closeRelay(t, r)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection outlived the relay")
	}
}

func TestRelayTargetGone(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	r := startRelay(t, l.Addr().String(), "MARKER", func(*net.TCPAddr) string { return "" })
	if _, err := dial(t, r.l.Addr().String()).Read(make([]byte, 1)); err == nil {
		t.Error("the connection stays open without a target")
	}
}

// The owner of a connection is found among the processes that are asked about.
func TestOwner(t *testing.T) {
	asked := make(chan string, 1)
	me := owners{func() map[int]string { return map[int]string{1: "init", os.Getpid(): "me"} }}
	r := startRelay(t, echo(t), "MARKER", func(a *net.TCPAddr) string {
		name := me.of(a)
		asked <- name
		return name
	})
	exchange(t, dial(t, r.l.Addr().String()), "x")
	if got := await.Receive(t, "a question for the owner", asked); got != "me" {
		t.Errorf("owner %q, want this process", got)
	}
	stranger := owners{func() map[int]string { return map[int]string{1: "init"} }}
	c := dial(t, r.l.Addr().String())
	await.Receive(t, "another question for the owner", asked)
	if got := stranger.of(c.LocalAddr().(*net.TCPAddr)); got != "" {
		t.Errorf("owner %q of a connection that no named process holds", got)
	}
	if got := me.of(&net.TCPAddr{IP: net.IPv6loopback, Port: 1}); got != "" {
		t.Errorf("owner %q of an address without a connection", got)
	}
}
