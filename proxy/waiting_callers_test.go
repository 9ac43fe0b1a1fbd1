package proxy_test

import (
	"bytes"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Callers whose requests wait for an answer hold up nobody else, as long as the backend takes more:
// neither the streams of a few connections nor the queue for them may be theirs alone.
func TestRequestsThatWaitHoldUpNobody(t *testing.T) {
	const callers = 25
	w := waiting{taken: make(chan struct{}, callers*limits.MaxCallerStreams)}
	settings := []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: math.MaxUint32}}
	s := &framed{settings: settings, on: func(c *framedConn, id uint32) {
		if !w.take() {
			c.answer(id)
		}
	}}
	w.holdUpNobody(t, outboundTo(t, s.serve(t)), callers)
}

// Nor do callers who take nothing of large answers, as long as the backend makes them.
func TestAnswersThatNobodyTakesHoldUpNobody(t *testing.T) {
	const callers, large = 60, 1 << 20
	w := waiting{taken: make(chan struct{}, callers*limits.MaxCallerStreams)}
	addr := few(t, math.MaxInt32, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if w.take() {
			rw.Write(make([]byte, large)) // fails with the test's end
		}
	}))
	url := outboundTo(t, addr)
	w.holdUpNobody(t, url, callers, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
}

// waiting is the requests of callers who fill what they can, and then one of another.
type waiting struct {
	taken  chan struct{} // by the backend, those that wait
	others atomic.Bool   // what comes now is not theirs
}

// take is the backend's: whether the request is one of those that wait.
func (w *waiting) take() bool {
	if w.others.Load() {
		return false
	}
	w.taken <- struct{}{}
	return true
}

func (w *waiting) holdUpNobody(t *testing.T, url string, callers int, settings ...http2.Setting) {
	t.Helper()
	limit := within(t, 30*time.Second)
	for i := range callers {
		openAndWait(t, strings.TrimPrefix(url, "http://"), settings...)
		for j := range limits.MaxCallerStreams {
			select {
			case <-w.taken:
			case <-limit.Done():
				t.Fatalf("the backend has got %d requests", i*limits.MaxCallerStreams+j)
			}
		}
	}
	w.others.Store(true)
	if status := post(t, http2Client(t), url); status != 200 {
		t.Errorf("status %d for another caller", status)
	}
}

// openAndWait makes as many requests as a caller may have, and does not end.
func openAndWait(t *testing.T, addr string, settings ...http2.Setting) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	var block, out bytes.Buffer
	enc, f := hpack.NewEncoder(&block), http2.NewFramer(&out, nil)
	io.WriteString(&out, http2.ClientPreface) // a buffer's writes do not fail
	f.WriteSettings(settings...)
	for i := range uint32(limits.MaxCallerStreams) {
		block.Reset()
		for _, field := range [][2]string{{":method", "GET"}, {":scheme", "http"},
			{":authority", "web"}, {":path", "/"}} {
			enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block.Bytes(),
			EndHeaders: true, EndStream: true})
	}
	_, err = nc.Write(out.Bytes())
	check(t, err)
}
