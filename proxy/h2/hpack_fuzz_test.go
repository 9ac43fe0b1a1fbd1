package h2

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// recorder is a tape that keeps what we say.
type recorder struct {
	tape
	mu  sync.Mutex
	out bytes.Buffer
}

func (r *recorder) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

// lists takes fuzzed text apart: a line is a request, and "name=value" in it a field.
func lists(text string) (all [][]hpack.HeaderField) {
	for line := range strings.Lines(text) {
		fields := slices.Clone(leaveRequest)
		for _, word := range strings.Fields(line) {
			name, v, _ := strings.Cut(word, "=")
			fields = append(
				fields,
				hpack.HeaderField{
					Name:  "x-" + fmt.Sprintf("%x", name),
					Value: fmt.Sprintf("%q", v),
				},
			)
		}
		if len(fields) <= defaultHeaderFields {
			all = append(all, fields)
		}
	}
	return all
}

type heads struct{ got *[][]hpack.HeaderField }

func (h heads) OnHeaders(fields []hpack.HeaderField, _ bool) {
	*h.got = append(*h.got, slices.Clone(fields))
}
func (h heads) OnData([]byte, bool)   {}
func (h heads) OnReset(uint32, error) {}
func (h heads) OnSent(int)            {}

// What our encoder writes, whatever the peer's table size was changed to, our decoder reads to the
// same.
func FuzzHPACK(f *testing.F) {
	f.Add("a=b c=d\na=b c=d\n", uint16(4096))
	f.Add(
		strings.Repeat("k=v ", 90)+"\n"+strings.Repeat("long="+strings.Repeat("v", 300)+" ", 20),
		uint16(0),
	)
	f.Add("a=1\na=2\na=3\nb=1\na=1\n", uint16(64))
	f.Fuzz(func(t *testing.T, text string, table uint16) {
		nc := &recorder{tape: tape{strings.NewReader("")}}
		c := NewClient(wire.New(nc, nil), Options{MaxOutput: 1 << 30})
		var sent, got [][]hpack.HeaderField
		for i, fields := range lists(text) {
			if i == presumedStreams {
				break
			}
			c.w.Lock()
			c.applyLocked(setting{settingTableSize, uint32(table) << (i % 8)})
			c.w.Unlock()
			if _, err := c.OpenStream(fields, true, heads{&got}); err != nil {
				t.Fatal(err)
			}
			sent = append(sent, fields)
		}
		c.w.CloseWrite()
		c.w.Wait()
		server := NewServer(
			wire.New(&tape{r: io.MultiReader(bytes.NewReader(nc.out.Bytes()))}, nil),
			Options{MaxHeaderBytes: 1 << 20, OnStream: func(*Stream) Sink { return heads{&got} }},
		)
		err := server.Serve()
		if !slices.EqualFunc(sent, got, slices.Equal) {
			t.Fatalf("%d heads became %d (%v):\n%v\n%v", len(sent), len(got), err, sent, got)
		}
	})
}
