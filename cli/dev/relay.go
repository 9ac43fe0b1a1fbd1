package dev

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// DefaultMarker is the text that a recording relay looks for where none is given.
const DefaultMarker = "tulle-plaintext-marker"

// Record is what a relay saw on one edge.
type Record struct {
	// the process that connected: an instance's name, "" when it is none of ours
	From        string `json:"from"`
	To          string `json:"to"` // the instance behind the relay
	Connections uint64 `json:"connections"`
	TLS         uint64 `json:"tls"` // of them: those whose first byte begins a TLS handshake
	BytesTo     uint64 `json:"bytesTo"`
	BytesFrom   uint64 `json:"bytesFrom"`
	Markers     uint64 `json:"markers"` // how often the marker was read in plaintext
}

// relay is a TCP relay in front of one instance, that reads along.
type relay struct {
	to     string
	target string
	marker []byte
	owner  func(*net.TCPAddr) string
	log    *slog.Logger
	l      net.Listener

	mu      sync.Mutex
	records map[string]*Record
	conns   map[net.Conn]bool // nil once closed
	wait    sync.WaitGroup
}

// relayConfig is what a relay is made of; owner names who connects.
type relayConfig struct {
	listen, to, target, marker string
	owner                      func(*net.TCPAddr) string
	log                        *slog.Logger
}

func newRelay(c relayConfig) (*relay, error) {
	l, err := net.Listen("tcp", c.listen)
	if err != nil {
		return nil, fmt.Errorf("relay to %s: %w", c.to, err)
	}
	r := &relay{to: c.to, target: c.target, marker: []byte(c.marker), owner: c.owner, log: c.log,
		l:       l,
		records: map[string]*Record{}, conns: map[net.Conn]bool{}}
	r.wait.Go(r.serve)
	return r, nil
}

func (r *relay) serve() {
	for {
		c, err := r.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			r.log.Warn("recording relay cannot accept", "to", r.to, "err", err)
			// out of descriptors, most likely: without a pause this would spin
			time.Sleep(100 * time.Millisecond)
			continue
		}
		r.wait.Go(func() { r.carry(c) })
	}
}

// carry joins a connection with the instance. When one side can no longer be written to, both are
// closed.
func (r *relay) carry(client net.Conn) {
	defer client.Close()
	// Asked while both ends surely exist: the connection's owner is found by its port.
	from := r.owner(client.RemoteAddr().(*net.TCPAddr))
	server, err := net.DialTimeout("tcp", r.target, 5*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	if !r.hold(client, server) {
		return
	}
	defer r.release(client, server)
	rec := r.record(from)
	var both sync.WaitGroup
	both.Go(func() { r.copy(server, client, tally{rec, &rec.BytesTo, &rec.TLS}) })
	both.Go(func() { r.copy(client, server, tally{rec, &rec.BytesFrom, nil}) })
	both.Wait()
}

// hold makes close end the connections; it says no when it came too late.
func (r *relay) hold(conns ...net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns == nil {
		return false
	}
	for _, c := range conns {
		r.conns[c] = true
	}
	return true
}

func (r *relay) release(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.conns, c)
	}
}

// record is the edge's, with the connection counted.
func (r *relay) record(from string) *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec := r.records[from]
	if rec == nil {
		rec = &Record{From: from, To: r.to}
		r.records[from] = rec
	}
	rec.Connections++
	return rec
}

// tally is where one direction of a connection is counted; tls only for the client's.
type tally struct {
	rec   *Record
	bytes *uint64
	tls   *uint64
}

const (
	relayBuffer     = 32 << 10
	tlsHandshake    = 0x16 // RFC 8446 §5.1: the first byte of a ClientHello's record
	maxMarkerLength = 256
)

// copy moves one direction, reading along, until it ends; then it lets the other side know.
func (r *relay) copy(dst, src net.Conn, t tally) {
	buf := make([]byte, relayBuffer)
	var seen []byte // the end of what was read before: a marker may lie across two reads
	for first := true; ; first = false {
		n, err := src.Read(buf)
		if n > 0 {
			seen = r.see(append(seen, buf[:n]...), n, t, first)
			if _, err := dst.Write(buf[:n]); err != nil {
				src.Close()
				return
			}
		}
		if err != nil {
			endWrite(dst, err)
			return
		}
	}
}

// see counts a read, and returns what of it the next one may complete a marker with.
func (r *relay) see(text []byte, read int, t tally, first bool) []byte {
	markers := bytes.Count(text, r.marker)
	keep := min(len(r.marker)-1, len(text))
	if i := bytes.LastIndex(text, r.marker); i >= 0 {
		keep = min(keep, len(text)-i-len(r.marker)) // what was counted is not counted again
	}
	r.mu.Lock()
	*t.bytes += uint64(read)
	t.rec.Markers += uint64(markers)
	if first && t.tls != nil && text[0] == tlsHandshake {
		*t.tls++
	}
	r.mu.Unlock()
	return append([]byte(nil), text[len(text)-keep:]...)
}

// endWrite passes on a clean end, and breaks what broke.
func endWrite(dst net.Conn, err error) {
	if tcp, ok := dst.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
		tcp.CloseWrite()
		return
	}
	dst.Close()
}

// list is what was seen until now.
func (r *relay) list() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Record, 0, len(r.records))
	for _, rec := range r.records {
		out = append(out, *rec)
	}
	slices.SortFunc(out, func(a, b Record) int { return strings.Compare(a.From, b.From) })
	return out
}

// close ends every connection and returns when they are gone.
func (r *relay) close() {
	r.l.Close()
	r.mu.Lock()
	for c := range r.conns {
		c.Close()
	}
	r.conns = nil
	r.mu.Unlock()
	r.wait.Wait()
}
