package main

import (
	"encoding/binary"
	"strings"

	"golang.org/x/net/http2"
)

// plenty is more frames than any budget grants.
const plenty = 6000

const (
	calm     = "GOAWAY ENHANCE_YOUR_CALM"
	calmed   = "caller_http2_enhance_your_calm"
	protocol = "GOAWAY PROTOCOL_ERROR"
)

// http2Attack is a client that greets, does one thing, and waits for the answer.
func http2Attack(name, want, counted string, do func(p *peer)) *attack {
	return &attack{name: name, want: want, counted: counted, once: func(pos *position) result {
		p, err := pos.greet()
		if err != nil {
			return result{err: err}
		}
		defer p.nc.Close()
		if want == served {
			do(p)
			p.out.Flush() // an error is an answer, and read
			pos.hold()
			return result{answer: p.answer()}
		}
		turn := <-turns
		defer func() { turns <- turn }()
		do(p)
		return p.verdict(want)
	}}
}

// turns are who may attack at once: all attackers are connected together, but the machine must have
// time for what is measured.
var turns = makeTurns()

func makeTurns() chan int {
	c := make(chan int, atOnce)
	for i := range atOnce {
		c <- i
	}
	return c
}

// heavy slows an attack's attackers down, for the sake of those beside them.
func heavy(a *attack) *attack {
	if *timing {
		a.pace = heavyArrival
	}
	return a
}

// slowly slows them down in any case.
func slowly(a *attack) *attack {
	a.pace = heavyArrival
	return a
}

// rapidReset cancels each request at once.
func rapidReset(name, want, counted string) *attack {
	return heavy(http2Attack(name, want, counted, func(p *peer) {
		block := p.get("/")
		p.flood(plenty, func(int) { p.WriteRSTStream(p.open(block, true), http2.ErrCodeCancel) })
	}))
}

// overcrowd opens more streams than anybody may have.
func overcrowd(name, want, counted string) *attack {
	return heavy(http2Attack(name, want, counted, func(p *peer) {
		block := p.post("/hang")
		p.flood(plenty, func(int) { p.open(block, false) })
	}))
}

// http2Floods are of requests, and of what comes with them.
func http2Floods() []*attack {
	return append([]*attack{
		http2Attack("CONTINUATION flood (CVE-2023-45288)", calm, calmed, func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get("/")})
			p.flood(plenty, func(int) { p.WriteContinuation(1, false, nil) })
		}),
		http2Attack("CONTINUATION flood, full frames", calm, calmed, func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get("/")})
			field := p.headers("x", strings.Repeat("v", 8000))
			p.flood(40, func(int) { p.WriteContinuation(1, false, field) })
		}),
		http2Attack("HPACK bomb (CVE-2016-6581)", calm, calmed,
			bomb("x-bomb", strings.Repeat("b", 3900), 16000)),
		http2Attack("cookie crumbs (CVE-2026-49975)", calm, calmed, bomb("cookie", "a=b", 16000)),
		http2Attack("a header of 128 KiB", calm, calmed, func(p *peer) {
			block := p.headers("x", strings.Repeat("~", 128<<10))
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:16384]})
			for block = block[16384:]; len(block) > 16384; block = block[16384:] {
				p.WriteContinuation(1, false, block[:16384])
			}
			p.WriteContinuation(1, true, block)
		}),
		heavy(http2Attack("trailers of 101 fields", calm, calmed, func(p *peer) {
			head, trailers := p.post("/sink"),
				p.headers(strings.Split(strings.Repeat("x,y,", 101)+"x,y", ",")...)
			p.flood(plenty, func(int) { p.trail(p.open(head, false), trailers) })
		})),
	}, madeYouReset()...)
}

func (p *peer) trail(id uint32, block []byte) {
	p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true,
	})
}

// bomb puts one field into the table and names it n times in each request: a byte each.
func bomb(name, value string, n int) func(*peer) {
	return func(p *peer) {
		p.open(append(p.get("/"), p.headers(name, value)...), true)
		block := append(p.get("/"), p.headers(name, value)...)
		last := block[len(block)-1]
		block = append(block, strings.Repeat(string([]byte{last}), n)...)
		p.flood(plenty, func(int) { p.open(block[:16384-256], true) })
	}
}

// madeYouReset makes the proxy reset streams (CVE-2025-8671): each mistake costs a stream, and too
// many the connection.
func madeYouReset() []*attack {
	hang := func(p *peer) uint32 { return p.open(p.get("/hang"), true) }
	each := func(name string, mistake func(p *peer)) *attack {
		return heavy(http2Attack("made you reset: "+name, calm, calmed,
			func(p *peer) { p.flood(plenty, func(int) { mistake(p) }) }))
	}
	return []*attack{
		each("WINDOW_UPDATE of 0", func(p *peer) { p.WriteWindowUpdate(hang(p), 0) }),
		each("window overflow", func(p *peer) { p.WriteWindowUpdate(hang(p), 1<<31-1) }),
		each("PRIORITY on itself", func(p *peer) {
			id := hang(p)
			p.WritePriority(id, http2.PriorityParam{StreamDep: id})
		}),
		each("PRIORITY of wrong length",
			func(p *peer) { p.WriteRawFrame(http2.FramePriority, 0, hang(p), make([]byte, 4)) }),
		each("HEADERS after END_STREAM", func(p *peer) { p.trail(hang(p), p.headers("x", "y")) }),
		each("DATA after END_STREAM", func(p *peer) { p.WriteData(hang(p), true, []byte("x")) }),
		each("content-length exceeded", func(p *peer) {
			p.WriteData(p.open(p.post("/sink", "content-length", "1"), false), true, []byte("xx"))
		}),
		each("malformed request",
			func(p *peer) { p.open(p.headers(":method", "GET", "connection", "close"), true) }),
	}
}

// chatter is frames that carry no message.
func chatter() []*attack {
	each := func(name string, frame func(p *peer, i int)) *attack {
		return http2Attack(name, calm, calmed,
			func(p *peer) { p.flood(plenty, func(i int) { frame(p, i) }) })
	}
	return append([]*attack{
		each("PING flood (CVE-2019-9512)",
			func(p *peer, i int) { p.WritePing(false, [8]byte{byte(i)}) }),
		each("SETTINGS flood (CVE-2019-9515)", func(p *peer, i int) { p.WriteSettings() }),
		each("SETTINGS acknowledgements", func(p *peer, i int) { p.WriteSettingsAck() }),
		each("WINDOW_UPDATE flood", func(p *peer, i int) { p.WriteWindowUpdate(0, 1) }),
		each("WINDOW_UPDATE flood on a stream", func(p *peer, i int) {
			if i == 0 {
				p.open(p.get("/hang"), true)
			}
			p.WriteWindowUpdate(1, 1)
		}),
		each("HEADER_TABLE_SIZE churn (CVE-2026-97032)", func(p *peer, i int) {
			if i%16 == 0 {
				p.open(p.get("/"), true)
			}
			p.WriteSettings(http2.Setting{
				ID: http2.SettingHeaderTableSize, Val: uint32(i % 2 * 4096),
			})
		}),
		each("PRIORITY flood", func(p *peer, i int) {
			p.WritePriority(uint32(2*i+1), http2.PriorityParam{Weight: 1})
		}),
		each("unknown frames (CVE-2026-27141)", func(p *peer, i int) {
			p.WriteRawFrame(http2.FrameType(0xa+i%6), 0xff, uint32(i), []byte{1})
		}),
		each("RST_STREAM for ended streams", func(p *peer, i int) {
			if i == 0 {
				p.WriteRSTStream(p.open(p.get("/hang"), true), http2.ErrCodeCancel)
			}
			p.WriteRSTStream(1, http2.ErrCodeCancel)
		}),
		http2Attack("empty DATA (CVE-2019-9518)", calm, calmed, func(p *peer) {
			id := p.open(p.post("/sink"), false)
			p.flood(plenty, func(int) { p.WriteData(id, false, nil) })
		}),
		http2Attack("DATA of nothing but padding", calm, calmed, func(p *peer) {
			id := p.open(p.post("/sink"), false)
			p.flood(plenty, func(int) { p.WriteDataPadded(id, false, nil, []byte{0}) })
		}),
	}, windowChurn()...)
}

func windowChurn() []*attack {
	return []*attack{
		heavy(http2Attack("INITIAL_WINDOW_SIZE churn (CVE-2026-78669)", calm, calmed,
			func(p *peer) {
				for range 256 {
					p.open(p.get("/hang"), true)
				}
				p.flood(plenty, func(i int) {
					p.WriteSettings(http2.Setting{
						ID: http2.SettingInitialWindowSize, Val: uint32(i % 2 * 65535),
					})
				})
			})),
		heavy(http2Attack("INITIAL_WINDOW_SIZE churn in one frame", calm, calmed, func(p *peer) {
			for range 256 {
				p.open(p.get("/hang"), true)
			}
			frame := churn()
			p.flood(plenty, func(int) { p.WriteRawFrame(http2.FrameSettings, 0, 0, frame) })
		})),
	}
}

// churn is as many changes of the window as a SETTINGS frame holds.
func churn() []byte {
	var b []byte
	for i := range 16384 / 6 {
		b = binary.BigEndian.AppendUint16(b, uint16(http2.SettingInitialWindowSize))
		b = binary.BigEndian.AppendUint32(b, uint32(i%2*65535))
	}
	return b
}

// mistakes end the connection at once.
func mistakes() []*attack {
	once := func(name, code string, do func(p *peer)) *attack {
		return http2Attack(name, "GOAWAY "+code, "caller_http2_"+strings.ToLower(code), do)
	}
	return []*attack{
		once("the connection's window overflows", "FLOW_CONTROL_ERROR",
			func(p *peer) { p.WriteWindowUpdate(0, 1<<31-1) }),
		once("a frame beyond MAX_FRAME_SIZE", "FRAME_SIZE_ERROR",
			func(p *peer) { p.WriteRawFrame(http2.FrameData, 0, 1, make([]byte, 16385)) }),
		once("PRIORITY of wrong length", "FRAME_SIZE_ERROR",
			func(p *peer) { p.WriteRawFrame(http2.FramePriority, 0, 1, make([]byte, 4)) }),
		once("MAX_FRAME_SIZE of 0 (CVE-2026-33814)", "PROTOCOL_ERROR", func(p *peer) {
			p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
		}),
		once("garbage for a header block", "COMPRESSION_ERROR",
			func(p *peer) { p.open([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, true) }),
		once("an even stream", "PROTOCOL_ERROR", func(p *peer) {
			p.WriteHeaders(http2.HeadersFrameParam{
				StreamID: 2, BlockFragment: p.get("/"), EndHeaders: true, EndStream: true,
			})
		}),
		http2Attack("one malformed request", "RST PROTOCOL_ERROR",
			"caller_http2_stream_protocol_error", func(p *peer) {
				p.open(p.headers(":method", "GET", ":scheme", "http", ":authority", "a",
					":path", "/", "transfer-encoding", "chunked"), true)
			}),
		http2Attack("101 tiny fields", "431", "caller_http2_stream_enhance_your_calm",
			func(p *peer) {
				p.open(append(p.get("/"),
					p.headers(strings.Split(strings.Repeat("x,y,", 96)+"x,y", ",")...)...), true)
			}),
	}
}
