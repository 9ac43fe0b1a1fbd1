package h2

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// relay joins two connections as package proxy does, without its mesh: every request that comes in
// on one goes out on the other.
type relay struct {
	down, up *Conn
	parked   []*exchange
	mu       sync.Mutex
	ended    chan struct{}
}

type exchange struct {
	r        *relay
	mu       sync.Mutex
	down, up *Stream
	fields   []hpack.HeaderField // parked until there is capacity
	end      bool
	body     []byte
	bodyEnd  bool
}

func newRelay(down, up *wire.Conn, o Options) *relay {
	r := &relay{ended: make(chan struct{}, 2)}
	od, ou := o, o
	od.OnStream = func(s *Stream) Sink { return (*downSink)(&exchange{r: r, down: s}) }
	od.OnBatch = func() { r.up.Flush() }
	ou.OnBatch = func() { r.down.Flush() }
	ou.OnCapacity = r.unpark
	r.down, r.up = NewServer(down, od), NewClient(up, ou)
	return r
}

func (r *relay) start() {
	go func() { r.up.Serve(); r.down.Close(CodeInternal); r.ended <- struct{}{} }()
	go func() { r.down.Serve(); r.up.Close(CodeNone); r.ended <- struct{}{} }()
}

func (r *relay) wait() { <-r.ended; <-r.ended }

func (r *relay) unpark() {
	r.mu.Lock()
	list := r.parked
	r.parked = nil
	r.mu.Unlock()
	for _, x := range list {
		x.open()
	}
	r.down.Flush()
}

func (x *exchange) open() {
	x.mu.Lock()
	defer x.mu.Unlock()
	up, err := x.r.up.OpenStream(x.fields, x.end, (*upSink)(x))
	if err == ErrNoCapacity {
		x.r.mu.Lock()
		x.r.parked = append(x.r.parked, x)
		x.r.mu.Unlock()
		return
	}
	if err != nil {
		x.down.Reset(CodeRefusedStream)
		return
	}
	x.up, x.fields = up, nil
	if len(x.body) > 0 || x.bodyEnd {
		x.down.Consumed(up.WriteData(x.body, x.bodyEnd))
		x.body = nil
	}
}

type downSink exchange

func (d *downSink) OnHeaders(fields []hpack.HeaderField, end bool) {
	if d.up != nil {
		d.up.WriteHeaders(fields, end)
		return
	}
	x := (*exchange)(d)
	x.fields, x.end = fields, end
	x.open()
	if x.up == nil {
		x.fields = append([]hpack.HeaderField(nil), fields...)
	}
}

func (d *downSink) OnData(p []byte, end bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up == nil {
		d.body = append(d.body, p...)
		d.bodyEnd = end
		return
	}
	d.down.Consumed(d.up.WriteData(p, end))
}

func (d *downSink) OnReset(code uint32, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.up != nil {
		d.up.Reset(CodeCancel)
	}
}

func (d *downSink) OnSent(n int) {
	d.up.Consumed(n)
	d.r.up.Flush()
}

type upSink exchange

func (u *upSink) OnHeaders(
	fields []hpack.HeaderField,
	end bool,
) {
	u.down.WriteHeaders(fields, end)
}

func (u *upSink) OnData(p []byte, end bool) {
	n := u.down.WriteData(p, end)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.up.Consumed(n)
}

func (u *upSink) OnReset(code uint32, err error) { u.down.Reset(code) }

func (u *upSink) OnSent(n int) {
	u.down.Consumed(n)
	u.r.down.Flush()
}

// tcpPair is a loopback connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}
