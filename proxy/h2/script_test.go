package h2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// TestConversations runs testdata/*.txt. A line says
//
//	role server|client            who we are; then options, NAME=VALUE; the greeting is done
//	                              for the script
//	< FRAME ...                   the peer sends
//	> FRAME ...                   the next frame that we sent
//	@ N CALL ... | @ CALL         the owner calls a stream's method, or the connection's
//	! N EVENT ... | ! EVENT       the next thing the owner was told
//	sleep DURATION
//
// Every frame and every event must be asked for; "> *" takes all frames so far.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "\n== ")[1:] {
			name, body, _ := strings.Cut(part, "\n")
			t.Run(filepath.Base(file)+"/"+strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { converse(t, body) })
			})
		}
	}
}

func converse(t *testing.T, body string) {
	var s *script
	defer func() { s.finish() }()
	for _, line := range strings.Split(body, "\n") {
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch verb {
		case "", "#":
		case "role":
			s = newScript(t, strings.Fields(rest))
		case "<":
			s.send(strings.Fields(rest))
		case "@":
			s.call(strings.Fields(rest))
		case "sleep":
			d, err := time.ParseDuration(rest)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
		case ">":
			s.expect(&s.frames, line, rest)
		case "!":
			s.expect(&s.events, line, rest)
		default:
			t.Fatalf("unknown line %q", line)
		}
		synctest.Wait()
	}
}

// script is one conversation under way.
type script struct {
	t       *testing.T
	nc      net.Conn
	fr      *http2.Framer
	enc     *hpack.Encoder
	block   bytes.Buffer
	conn    *Conn
	served  chan error
	mu      sync.Mutex
	frames  []string
	events  []string
	streams map[uint32]*Stream
	nextID  uint32
}

func newScript(t *testing.T, args []string) *script {
	ours, theirs := net.Pipe()
	s := &script{
		t:       t,
		nc:      theirs,
		streams: map[uint32]*Stream{},
		served:  make(chan error, 1),
		nextID:  1,
	}
	s.fr = http2.NewFramer(theirs, theirs)
	s.fr.AllowIllegalWrites = true
	s.enc = hpack.NewEncoder(&s.block)
	o := Options{
		OnStream:   func(st *Stream) Sink { s.streams[st.id] = st; return &scriptSink{s, st.id} },
		OnCapacity: func() { s.tell("capacity") },
		OnGoAway:   func() { s.tell("goaway") },
		OnClose:    func(err error) { s.tell("close %v", err) },
	}
	for _, arg := range args[1:] {
		setOption(t, &o, arg)
	}
	if args[0] == "server" {
		s.conn = NewServer(wire.New(ours, nil), o)
	} else {
		s.conn = NewClient(wire.New(ours, nil), o)
	}
	go s.read(args[0] == "client")
	go func() { s.served <- s.conn.Serve() }()
	if args[0] == "server" {
		io.WriteString(theirs, preface)
	}
	s.fr.WriteSettings()
	s.fr.WriteSettingsAck()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = nil
	return s
}

func setOption(t *testing.T, o *Options, arg string) {
	name, value, _ := strings.Cut(arg, "=")
	if d, err := time.ParseDuration(value); err == nil && strings.HasSuffix(value, "s") {
		*map[string]*time.Duration{
			"HeaderTimeout": &o.HeaderTimeout, "IdleTimeout": &o.IdleTimeout,
			"KeepAlive": &o.KeepAlive, "FirstTimeout": &o.FirstTimeout,
		}[name] = d
		return
	}
	if name == "EnableConnect" {
		o.EnableConnect = true
		return
	}
	n, err := strconv.Atoi(value)
	if err != nil {
		t.Fatal(err)
	}
	*map[string]*int{
		"MaxStreams": &o.MaxStreams, "MaxHeaderBytes": &o.MaxHeaderBytes,
		"MaxHeaderFields": &o.MaxHeaderFields, "StreamWindow": &o.StreamWindow,
		"ConnWindow": &o.ConnWindow, "FirstWindow": &o.FirstWindow, "MaxOutput": &o.MaxOutput,
		"FirstStreams": &o.FirstStreams,
	}[name] = n
}

func (s *script) finish() {
	s.t.Helper()
	s.expectNone("frame", s.frames)
	s.expectNone("event", s.events)
	s.nc.Close()
	<-s.served
}

func (s *script) expectNone(what string, list []string) {
	s.t.Helper()
	for _, v := range list {
		s.t.Errorf("%s nobody asked for: %s", what, v)
	}
}

func (s *script) expect(list *[]string, line, want string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if want == "*" {
		*list = nil
		return
	}
	if len(*list) == 0 {
		s.t.Fatalf("%s: nothing came", line)
	}
	if got := (*list)[0]; got != want {
		s.t.Fatalf("%s: got %s", line, got)
	}
	*list = (*list)[1:]
}

func (s *script) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, fmt.Sprintf(format, args...))
}

type scriptSink struct {
	s  *script
	id uint32
}

func (k *scriptSink) OnHeaders(f []hpack.HeaderField, end bool) {
	k.s.tell("%d headers%s%s", k.id, ending(end), text(f))
}

func (k *scriptSink) OnData(
	p []byte,
	end bool,
) {
	k.s.tell("%d data %d%s", k.id, len(p), ending(end))
}
func (k *scriptSink) OnSent(n int) { k.s.tell("%d sent %d", k.id, n) }
func (k *scriptSink) OnReset(code uint32, err error) {
	refused := ""
	if errors.Is(err, ErrRefused) {
		refused = " unprocessed"
	}
	k.s.tell("%d reset %s%s", k.id, CodeName(code), refused)
}

func ending(end bool) string {
	if end {
		return " end"
	}
	return ""
}

func text(fields []hpack.HeaderField) string {
	var b strings.Builder
	for _, f := range fields {
		fmt.Fprintf(&b, " %s=%s", f.Name, f.Value)
	}
	return b.String()
}

// read notes what we send.
func (s *script) read(withPreface bool) {
	if withPreface {
		io.ReadFull(s.nc, make([]byte, len(preface)))
	}
	s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		f, err := s.fr.ReadFrame()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.frames = append(s.frames, frameText(f))
		s.mu.Unlock()
	}
}

func frameText(f http2.Frame) string {
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return fmt.Sprintf("HEADERS %d%s%s", id, ending(f.StreamEnded()), text(f.Fields))
	case *http2.DataFrame:
		return fmt.Sprintf("DATA %d %d%s", id, len(f.Data()), ending(f.StreamEnded()))
	case *http2.RSTStreamFrame:
		return fmt.Sprintf("RST_STREAM %d %s", id, CodeName(uint32(f.ErrCode)))
	case *http2.GoAwayFrame:
		return fmt.Sprintf("GOAWAY %d %s", f.LastStreamID, CodeName(uint32(f.ErrCode)))
	case *http2.WindowUpdateFrame:
		return fmt.Sprintf("WINDOW_UPDATE %d %d", id, f.Increment)
	case *http2.PingFrame:
		return fmt.Sprintf("PING %s%s", f.Data[:], ack(f.IsAck()))
	case *http2.SettingsFrame:
		return "SETTINGS" + ack(f.IsAck())
	}
	return f.Header().String()
}

func ack(is bool) string {
	if is {
		return " ack"
	}
	return ""
}

// args are the words of a line after its verb: numbers, NAME=VALUE fields, and the flag "end".
type args struct {
	n      []uint32
	fields []hpack.HeaderField
	words  map[string]bool
}

// blanks are how a script writes bytes that would split its words or lines.
var blanks = strings.NewReplacer("_", " ", `\t`, "\t", `\r`, "\r", `\n`, "\n", `\0`, "\x00")

func parseArgs(list []string) (a args) {
	a.words = map[string]bool{}
	for _, w := range list {
		if n, err := strconv.ParseUint(w, 10, 32); err == nil {
			a.n = append(a.n, uint32(n))
		} else if name, value, ok := strings.Cut(w, "="); ok {
			count, bare, many := strings.Cut(name, "*")
			times, err := strconv.Atoi(count)
			if !many || err != nil {
				times, bare = 1, name
			}
			for range times {
				a.fields = append(a.fields,
					hpack.HeaderField{Name: bare, Value: blanks.Replace(value)})
			}
		} else {
			a.words[w] = true
		}
	}
	return a
}

func codeByName(words map[string]bool) uint32 {
	for code, name := range codeNames {
		if words[name] {
			return uint32(code)
		}
	}
	return 0
}
