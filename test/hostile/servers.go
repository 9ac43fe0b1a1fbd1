package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

func respond(p *peer, id uint32, fields ...string) {
	p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.headers(fields...), EndHeaders: true,
	})
}

// floodingServers say too much of what is legal.
func floodingServers() []serverAttack {
	const calmed = "backend_http2_enhance_your_calm"
	return []serverAttack{
		hostile2("server: headers without an end", calm, calmed, func(p *peer, id uint32) {
			p.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: p.headers(":status", "200"),
			})
			p.flood(plenty, func(int) { p.WriteContinuation(id, false, nil) })
		}),
		hostile2("server: HPACK bomb", calm, calmed, func(p *peer, id uint32) {
			block := p.headers(":status", "200", "x", "bomb")
			last := p.headers("x", "bomb")
			for len(block) < 16000 {
				block = append(block, last...)
			}
			p.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, BlockFragment: block, EndHeaders: true,
			})
		}),
		hostile2("server: 1xx flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(20*plenty, func(int) { respond(p, id, ":status", "103") })
		}),
		hostile2("server: PING flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty, func(i int) { p.WritePing(false, [8]byte{byte(i)}) })
		}),
		hostile2("server: SETTINGS flood", calm, calmed,
			func(p *peer, id uint32) { p.flood(plenty, func(int) { p.WriteSettings() }) }),
		hostile2("server: WINDOW_UPDATE flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty, func(int) { p.WriteWindowUpdate(0, 1) })
		}),
		hostile2("server: empty DATA", calm, calmed, func(p *peer, id uint32) {
			respond(p, id, ":status", "200")
			p.flood(plenty, func(int) { p.WriteData(id, false, nil) })
		}),
		hostile2("server: WINDOW_UPDATE flood on a stream", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty, func(int) { p.WriteWindowUpdate(id, 1) })
		}),
		hostile2("server: INITIAL_WINDOW_SIZE churn (CVE-2026-78669)", calm, calmed,
			func(p *peer, id uint32) {
				frame := churn()
				p.flood(plenty, func(int) { p.WriteRawFrame(http2.FrameSettings, 0, 0, frame) })
			}),
		hostile2("server: PRIORITY flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty,
				func(i int) { p.WritePriority(id, http2.PriorityParam{Weight: uint8(i)}) })
		}),
		hostile2("server: unknown frames (CVE-2026-27141)", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty,
				func(i int) { p.WriteRawFrame(http2.FrameType(0xa+i%6), 0xff, id, []byte{1}) })
		}),
		hostile2("server: RST_STREAM for ended streams", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty, func(int) { p.WriteRSTStream(id, http2.ErrCodeCancel) })
		}),
	}
}

// breakingServers break the protocol, or a bound.
func breakingServers() []serverAttack {
	const broken = "backend_http2_protocol_error"
	return []serverAttack{
		hostile2("server: trailers of 101 fields", "RST ENHANCE_YOUR_CALM",
			"backend_http2_stream_enhance_your_calm", func(p *peer, id uint32) {
				respond(p, id, ":status", "200")
				p.trail(id, p.headers(strings.Split(strings.Repeat("x,y,", 100)+"x,y", ",")...))
			}),
		hostile2("server: a stream's window overflows", "RST FLOW_CONTROL_ERROR",
			"backend_http2_stream_flow_control_error", func(p *peer, id uint32) {
				p.WriteWindowUpdate(id, 1<<31-1)
			}),
		hostile2("server: windows overflow by INITIAL_WINDOW_SIZE", "GOAWAY FLOW_CONTROL_ERROR",
			"backend_http2_flow_control_error", func(p *peer, id uint32) {
				p.WriteWindowUpdate(id, 1<<31-1-65535)
				p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			}),
		hostile2("server: garbage for a header block", "GOAWAY COMPRESSION_ERROR",
			"backend_http2_compression_error", func(p *peer, id uint32) {
				p.trail(id, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f})
			}),
		hostile2("server: the window overflows", "GOAWAY FLOW_CONTROL_ERROR",
			"backend_http2_flow_control_error", func(p *peer, id uint32) {
				p.WriteWindowUpdate(0, 1<<31-1)
			}),
		hostile2("server: MAX_FRAME_SIZE of 0 (CVE-2026-33814)", protocol, broken,
			func(p *peer, id uint32) {
				p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
			}),
		hostile2("server: DATA before HEADERS", "RST PROTOCOL_ERROR",
			"backend_http2_stream_protocol_error", func(p *peer, id uint32) {
				p.WriteData(id, true, []byte("x"))
			}),
		hostile2("server: a response to no request", protocol, broken,
			func(p *peer, id uint32) { respond(p, id+100_000, ":status", "200") }),
		hostile2("server: PUSH_PROMISE", protocol, broken, func(p *peer, id uint32) {
			p.WritePushPromise(http2.PushPromiseParam{
				StreamID: id, PromiseID: 2, BlockFragment: p.get("/"), EndHeaders: true,
			})
		}),
		hostile2("server: content-length differs", "RST PROTOCOL_ERROR",
			"backend_http2_stream_protocol_error", func(p *peer, id uint32) {
				respond(p, id, ":status", "200", "content-length", "1")
				p.WriteData(id, true, []byte("xx"))
			}),
		hostile2("server: GOAWAY for every connection", "closed", "",
			func(p *peer, id uint32) { p.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }),
		{name: "server: no HTTP/2 at all", want: "closed", http2: true,
			script: func(nc net.Conn) result {
				nc.Write(noise(64 << 10))
				began := time.Now()
				nc.SetReadDeadline(began.Add(answerTime + answerSlack))
				if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
					return result{answer: served}
				}
				return result{answer: "closed", took: time.Since(began)}
			}},
	}
}

// mildServers play with what flow control lets them.
func mildServers() []serverAttack {
	initial := func(n uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: n}
	}
	answered := func(p *peer, id uint32) { p.trail(id, p.headers(":status", "200")) }
	return []serverAttack{
		mild2("server: a window of 0", bigBody, func(p *peer, id uint32) {}, initial(0)),
		mild2("server: a window given byte by byte", bigBody, func(p *peer, id uint32) {
			for range 50 {
				p.WriteWindowUpdate(id, 1)
				p.out.Flush() // an error is an answer, and read
				time.Sleep(time.Millisecond)
			}
			answered(p, id)
		}, initial(1)),
		mild2("server: INITIAL_WINDOW_SIZE up and down", bigBody, func(p *peer, id uint32) {
			for i := range uint32(50) {
				p.WriteSettings(initial(i % 2 * 16384))
				p.out.Flush()
				time.Sleep(time.Millisecond)
			}
			answered(p, id)
		}),
		mild2("server: DATA byte by byte (CVE-2026-84304)", 0, func(p *peer, id uint32) {
			respond(p, id, ":status", "200")
			for range 500 {
				p.WriteData(id, false, []byte("x"))
			}
			p.WriteData(id, true, nil)
		}),
	}
}

// asAnswered: the caller may get the answer, for it cannot be told from a good one.
func asAnswered(a serverAttack) serverAttack {
	a.call = "200|" + refusedCall
	return a
}

func hostileServers1() []serverAttack {
	const refused = "backend_http1_"
	say := func(name, counted, text string) serverAttack {
		return hostile1(name, counted, func(w *bufio.Writer) { io.WriteString(w, text) })
	}
	const ok, chunked = "HTTP/1.1 200 OK\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	return []serverAttack{
		say("server: a head without an end", refused+"431", ok+repeat("X: y\r\n", 30_000)),
		say("server: 1xx flood", refused+"502", repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10_000)),
		say("server: a chunk extension of 64 KiB", refused+"400", chunked+"1;"+repeat("x", 64<<10)),
		say("server: extensions on tiny chunks", refused+"400",
			chunked+repeat("1;"+repeat("x", 900)+"\r\nx\r\n", 100)),
		say("server: two content-lengths", refused+"400",
			ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
		say("server: no HTTP at all", refused+"414", repeat("\x16\x03\x01", 10_000)),
		say("server: switches protocols unasked", refused+"400",
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
		// The answer is good; what follows it, or comes before its request, must reach nobody as an
		// answer to another.
		asAnswered(say("server: unsolicited bytes", "",
			ok+"Content-Length: 2\r\n\r\nok"+repeat(ok, 1000))),
		asAnswered(serverAttack{name: "server: a response before the request", want: "closed",
			script: func(nc net.Conn) result {
				io.WriteString(nc, ok+"Content-Length: 4\r\n\r\nevil"+ok) // an error is an answer
				nc.SetReadDeadline(time.Now().Add(answerTime + answerSlack))
				if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
					return result{answer: served}
				}
				return result{answer: "closed"}
			}}),
	}
}
