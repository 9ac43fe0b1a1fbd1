package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http2"
)

// misdeed is what a server does instead of answering, and what must come of it.
type misdeed struct {
	name  string
	greet func(*hostileConn) // instead of an empty SETTINGS
	mute  bool               // SETTINGS are never acknowledged
	do    func(c *hostileConn, id uint32)
	stuck bool // the caller reads nothing before the misdeed is done

	want   string // the proxy's answer to the server: a frame and its code, or nothing
	caller string // what the caller gets: status and body, or "cut"
	heard  chan string
}

// A stream's error leaves the others of its connection alone; a connection's error ends them, and
// the next request has a new one.
func runMisbehave(ctx context.Context, m *mesh, r *report) error {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t, Timeout: answerWithin}
	base := "http://" + m.outbound("hostile")
	for _, d := range misdeeds() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.heard = make(chan string, 100)
		m.hostile.begin(d)
		d.check(client, base, r)
	}
	return nil
}

func (d misdeed) check(client *http.Client, base string, r *report) {
	beside := make(chan string, 1)
	go func() { beside <- answer(client, "POST", base+"/beside") }()
	other := ""
	if d.greet != nil {
		other = <-beside // it opens the connection, and ends with it
	} else if got := await(d.heard, "beside"); got != "beside" {
		r.check(false, d.name, "the request beside did not arrive: %s, %s", got, <-beside)
		return
	}
	caller, did := d.provoke(client, base)
	if d.greet == nil {
		other = <-beside
	}
	next := answer(client, "GET", base+"/next")
	whole := strings.HasPrefix(d.want, "GOAWAY") || d.want == "closed"
	ok := (d.want == "" || did == d.want) && caller == d.caller && next == "200 good" &&
		(whole || other == "200 good")
	r.check(ok, d.name, "%s; its caller: %s (want %s, %s); beside: %s; next: %s", did, caller,
		d.want, d.caller, other, next)
}

// provoke sends the case's request: what its caller got, and what the server was told.
func (d misdeed) provoke(client *http.Client, base string) (caller, did string) {
	if d.stuck {
		return d.provokeStuck(strings.TrimPrefix(base, "http://"))
	}
	caller = answer(client, "POST", base+"/case")
	return caller, d.told()
}

func (d misdeed) provokeStuck(addr string) (caller, did string) {
	conn, err := dialH2(addr)
	if err != nil {
		return err.Error(), ""
	}
	defer conn.Close()
	err = conn.headers(1, true, ":method=POST", ":scheme=http", ":path=/case", ":authority=hostile")
	if err != nil {
		return err.Error(), ""
	}
	did = d.told()
	return conn.outcome(1), did
}

func (d misdeed) told() string {
	if d.want == "" {
		return "nothing"
	}
	return await(d.heard, d.want)
}

// answer is a request's status and body.
func answer(client *http.Client, method, url string) string {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return err.Error()
	}
	resp, err := client.Do(req)
	if err != nil {
		return "cut"
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "cut"
	case resp.StatusCode >= 500:
		return fmt.Sprint(resp.StatusCode)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", resp.StatusCode, body))
}

// onStream resets the stream, and only that.
func onStream(name, code string, do func(c *hostileConn, id uint32)) misdeed {
	return misdeed{name: name, do: do, want: "RST_STREAM " + code, caller: "502"}
}

// onConnection ends the connection.
func onConnection(name, code string, do func(c *hostileConn, id uint32)) misdeed {
	return misdeed{name: name, do: do, want: "GOAWAY " + code, caller: "502"}
}

// raw writes a frame that http2.Framer would not.
func raw(
	typ http2.FrameType, flags http2.Flags, id uint32, payload ...byte,
) func(*hostileConn, uint32) {
	return func(c *hostileConn, stream uint32) {
		c.WriteRawFrame(typ, flags, or(id, stream), payload)
	}
}

// thisStream stands for the number of the case's.
const thisStream = 1 << 31

func or(id, stream uint32) uint32 {
	if id == thisStream {
		return stream
	}
	return id
}

func setting(id http2.SettingID, value uint32) func(*hostileConn, uint32) {
	return func(c *hostileConn, _ uint32) { c.WriteSettings(http2.Setting{ID: id, Val: value}) }
}

func head(end bool, list ...string) func(*hostileConn, uint32) {
	return func(c *hostileConn, id uint32) { c.headers(id, end, list...) }
}

// then does one thing after another.
func then(list ...func(*hostileConn, uint32)) func(*hostileConn, uint32) {
	return func(c *hostileConn, id uint32) {
		for _, f := range list {
			f(c, id)
		}
	}
}

func good(c *hostileConn, id uint32) { c.good(id) }

func data(end bool, n int) func(*hostileConn, uint32) {
	return func(c *hostileConn, id uint32) { c.WriteData(id, end, make([]byte, n)) }
}

func window(id uint32, n uint32) func(*hostileConn, uint32) {
	return func(c *hostileConn, stream uint32) {
		c.WriteWindowUpdate(or(id, stream), n)
	}
}

func times(n int, f func(*hostileConn, uint32)) func(*hostileConn, uint32) {
	return func(c *hostileConn, id uint32) {
		for range n {
			f(c, id)
		}
	}
}

func reset(code http2.ErrCode) func(*hostileConn, uint32) {
	return func(c *hostileConn, id uint32) { c.WriteRSTStream(id, code) }
}

func goAway(last uint32, code http2.ErrCode) func(*hostileConn, uint32) {
	return func(c *hostileConn, _ uint32) { c.WriteGoAway(last, code, []byte("because")) }
}
