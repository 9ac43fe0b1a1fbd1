package h1

import (
	"strings"
	"testing"
)

const (
	uploadHead = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nupgrade: x\r\n" +
		"connection: upgrade\r\n\r\n"
	uploadFields = ":method=POST :scheme=http :authority=a :path=/ :protocol=x upgrade-length=5"
)

var uploadWords = []string{":method=POST", ":protocol=x", ":scheme=http", ":authority=a", ":path=/",
	"upgrade-length=5"}

// The body of a request that asks for an upgrade is sent at once, and what follows it is withheld
// until the server has agreed. Where it has not, nobody gets that: it would be the next request.
func TestAnUpgradesBodyIsSentBeforeTheAnswer(t *testing.T) {
	for _, c := range []struct{ answer, heard, then string }{
		{"HTTP/1.1 101 S\r\n\r\nyes", `:status=200 | data "yes"`, "GET /"},
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			":status=200 content-length=0 upgrade-declined=1 end", ""},
		{"HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\nno",
			`:status=403 content-length=2 | data "no" end`, ""},
	} {
		clientTalk(t, Options{}, func(p *peer) {
			r := p.open(false, uploadWords...)
			for _, piece := range []string{"he", "lloGE", "T /"} {
				r.stream.WriteData([]byte(piece), false)
				r.stream.Flush()
			}
			p.want(p.got(), uploadHead+"hello")
			p.send(c.answer)
			p.want(r.heard(), c.heard)
			p.want(p.got(), c.then)
			if c.then == "" {
				r.stream.WriteData([]byte("more"), false)
				p.open(true, getWords...)
				p.want(p.got(), getLine)
			}
		})
	}
}

// A server may answer before it has the body. It gets the rest all the same, and no more.
func TestAnUpgradeIsAnsweredBeforeItsBodyIsSent(t *testing.T) {
	clientTalk(t, Options{}, func(p *peer) {
		r := p.open(false, uploadWords...)
		r.stream.WriteData([]byte("he"), false)
		r.stream.Flush()
		p.want(p.got(), uploadHead+"he")
		p.send("HTTP/1.1 403 F\r\nContent-Length: 2\r\n\r\n")
		r.stream.WriteData([]byte("llo, GET /"), false)
		r.stream.Flush()
		p.want(p.got(), "llo")
		p.send("no")
		p.want(r.heard(), `:status=403 content-length=2 | data "no" end`)
		p.open(true, getWords...)
		p.want(p.got(), getLine)
	})
	clientTalk(t, Options{}, func(p *peer) {
		r := p.open(false, uploadWords...)
		r.stream.WriteData([]byte("he"), false)
		r.stream.Flush()
		p.want(p.got(), uploadHead+"he")
		p.send("HTTP/1.1 101 S\r\n\r\n")
		r.stream.WriteData([]byte("llo, and on"), false)
		r.stream.Flush()
		p.want(p.got(), "llo, and on")
	})
}

// A body that is larger than the output has room for leaves as room comes, and the tunnel's bytes
// behind it do not leave with it.
func TestALargeBodyOfAnUpgradeLeavesInPieces(t *testing.T) {
	const size = 100 << 10
	words := append(uploadWords[:5:5], "upgrade-length=102400")
	clientTalk(t, Options{MaxOutput: 4 << 10}, func(p *peer) {
		r := p.open(false, words...)
		r.stream.WriteData([]byte(strings.Repeat("x", size)+"tunnel"), false)
		r.stream.Flush()
		_, body, _ := strings.Cut(p.got(), "\r\n\r\n")
		p.want(body, strings.Repeat("x", size))
		p.send("HTTP/1.1 101 S\r\n\r\n")
		p.want(p.got(), "tunnel")
	})
}

// A body that ends before its length is no request: its end must not be taken for the tunnel's.
func TestAnUpgradesBodyThatIsCutIsNoRequest(t *testing.T) {
	clientTalk(t, Options{}, func(p *peer) {
		r := p.open(false, uploadWords...)
		r.stream.WriteData([]byte("he"), true)
		p.got()
		if h := r.heard(); !strings.Contains(h, errLength.Error()) {
			t.Errorf("heard %q", h)
		}
	})
	clientTalk(t, Options{}, func(p *peer) {
		for _, words := range [][]string{append(uploadWords[:5:5], "upgrade-length=x"),
			append(uploadWords[:6:6], "upgrade-length=5")} {
			if _, err := p.conn.OpenStream(fields(words...), false, &recorder{}); err == nil {
				t.Errorf("%v can be sent", words)
			}
		}
		if _, err := p.conn.OpenStream(fields(uploadWords...), true, &recorder{}); err == nil {
			t.Error("a body that is not there can be sent")
		}
	})
}

// The body of an upgrade is heard as it comes, and so is the tunnel behind it once the answer is
// the switch. After any other answer the client's next bytes are its next request.
func TestAnUpgradesBodyIsReadBeforeTheTunnel(t *testing.T) {
	const in = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade-Length: 99\r\nContent-Length: 5\r\n" +
		"Connection: upgrade\r\nUpgrade: x\r\n\r\n"
	const switched = "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n" +
		"connection: upgrade\r\n\r\n"
	agree := func(r *recorder) {
		r.stream.WriteHeaders(fields(":status=200"), false)
		r.stream.Flush()
	}
	for _, early := range []bool{false, true} {
		serverTalk(t, Options{}, nil, func(p *peer) {
			p.send(in + "he")
			r := p.rec(0)
			if early {
				agree(r)
				p.want(p.got(), switched)
			}
			p.send("llo" + get)
			if !early {
				p.want(r.heard(), uploadFields+` | data "he" | data "llo"`)
				agree(r)
				p.want(p.got(), switched)
			}
			p.want(string(r.body), "hello"+get)
			if strings.HasSuffix(r.heard(), " end") {
				t.Errorf("heard %q", r.heard())
			}
			p.nc.Close()
		})
	}
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.send(in + "hello" + get)
		p.want(p.rec(0).heard(), uploadFields+` | data "hello"`)
		no := p.rec(0).stream
		no.WriteHeaders(fields(":status=200", "content-length=5", "upgrade-declined=1"), false)
		no.WriteData([]byte("hello"), true)
		no.Flush()
		p.want(p.got(), helloText)
		p.want(p.rec(0).heard(), uploadFields+` | data "hello"`)
		p.want(p.rec(1).heard(), getFields+" end")
	})
}
