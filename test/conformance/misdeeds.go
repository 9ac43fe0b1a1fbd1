package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/http2"
)

func misdeeds() []misdeed {
	return slices.Concat(badSettings(), badHeads(), badBlocks(), badBodies(), badWindows(),
		badFrames(), resets(), goAways(), floods(), tolerated())
}

func badSettings() []misdeed {
	conn := func(name, code string, id http2.SettingID, value uint32) misdeed {
		return onConnection("SETTINGS "+name, code, setting(id, value))
	}
	return []misdeed{
		conn("MAX_FRAME_SIZE=0", "PROTOCOL_ERROR", http2.SettingMaxFrameSize, 0),
		conn("MAX_FRAME_SIZE=16383", "PROTOCOL_ERROR", http2.SettingMaxFrameSize, 16383),
		conn("MAX_FRAME_SIZE=2^24", "PROTOCOL_ERROR", http2.SettingMaxFrameSize, 1<<24),
		conn("ENABLE_PUSH=1", "PROTOCOL_ERROR", http2.SettingEnablePush, 1),
		conn("ENABLE_PUSH=2", "PROTOCOL_ERROR", http2.SettingEnablePush, 2),
		conn("INITIAL_WINDOW_SIZE=2^31", "FLOW_CONTROL_ERROR",
			http2.SettingInitialWindowSize, 1<<31),
		conn("ENABLE_CONNECT_PROTOCOL=2", "PROTOCOL_ERROR", http2.SettingEnableConnectProtocol, 2),
		onConnection("SETTINGS of 5 bytes", "FRAME_SIZE_ERROR",
			raw(http2.FrameSettings, 0, 0, 0, 0, 0, 0, 0)),
		onConnection("SETTINGS on a stream", "PROTOCOL_ERROR",
			raw(http2.FrameSettings, 0, thisStream)),
		onConnection("SETTINGS acknowledgement with a payload", "FRAME_SIZE_ERROR",
			raw(http2.FrameSettings, http2.FlagSettingsAck, 0, 0, 0, 0, 0, 0, 0)),
		onConnection("windows above 2^31-1 by INITIAL_WINDOW_SIZE", "FLOW_CONTROL_ERROR", then(
			window(thisStream, 1<<31-1-65535), setting(http2.SettingInitialWindowSize, 1<<31-1))),
		{name: "the first frame is not SETTINGS",
			greet: func(c *hostileConn) { c.WritePing(false, [8]byte{}) },
			want:  "GOAWAY PROTOCOL_ERROR", caller: "200 good"},
		{name: "the first SETTINGS are an acknowledgement",
			greet: func(c *hostileConn) { c.WriteSettingsAck() },
			want:  "GOAWAY PROTOCOL_ERROR", caller: "200 good"},
		{name: "the first SETTINGS are bad", greet: func(c *hostileConn) {
			c.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize})
		}, want: "GOAWAY PROTOCOL_ERROR", caller: "200 good"},
		{name: "HTTP/1 instead of SETTINGS",
			greet: func(c *hostileConn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			want:  "closed", caller: "200 good"},
	}
}

func badHeads() []misdeed {
	bad := func(name string, list ...string) misdeed {
		return onStream("response with "+name, "PROTOCOL_ERROR", head(true, list...))
	}
	return []misdeed{
		bad("no :status", "a=b"), bad(":status twice", ":status=200", ":status=200"),
		bad(":status after a field", "a=b", ":status=200"),
		bad(":status 99", ":status=99"), bad(":status 1000", ":status=1000"),
		bad(":status in words", ":status=abc"), bad(":status 101", ":status=101"),
		bad(":path", ":status=200", ":path=/"), bad("unknown pseudo-header", ":status=200", ":x=y"),
		bad("connection", ":status=200", "connection=close"),
		bad("transfer-encoding", ":status=200", "transfer-encoding=chunked"),
		bad("upgrade", ":status=200", "upgrade=x"),
		bad("CR LF in a value", ":status=200", "a=b\r\nc: d"),
		bad("NUL in a value", ":status=200", "a=\x00"),
		bad("upper case", ":status=200", "A=b"), bad("colon in a name", ":status=200", "a:b=c"),
		bad("content-length twice", ":status=200", "content-length=0", "content-length=0"),
		bad("content-length signed", ":status=200", "content-length=+0"),
		bad("content-length and no content", ":status=200", "content-length=4"),
		bad("informational status and END_STREAM", ":status=103"),
		onStream("101 fields", "ENHANCE_YOUR_CALM",
			head(true, append(slices.Repeat([]string{"a=b"}, 101), ":status=200")...)),
		onStream("72 KiB of fields", "ENHANCE_YOUR_CALM",
			head(true, slices.Repeat([]string{"a=" + strings.Repeat("x", 9<<10)}, 8)...)),
		onConnection("400 KiB of fields", "ENHANCE_YOUR_CALM",
			head(true, slices.Repeat([]string{"a=" + strings.Repeat("x", 9<<10)}, 45)...)),
	}
}

func badBlocks() []misdeed {
	open := func(c *hostileConn, id uint32) {
		c.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: c.fields(":status=200"),
		})
	}
	return []misdeed{
		onConnection("CONTINUATION without HEADERS", "PROTOCOL_ERROR",
			raw(http2.FrameContinuation, 0, thisStream, 0x88)),
		onConnection("CONTINUATION after END_HEADERS", "PROTOCOL_ERROR",
			then(head(false, ":status=103"),
				raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, thisStream))),
		onConnection("CONTINUATION of another stream", "PROTOCOL_ERROR",
			then(open, raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1))),
		onConnection("DATA inside a header block", "PROTOCOL_ERROR", then(open, data(true, 4))),
		onConnection("unknown frame inside a header block", "PROTOCOL_ERROR",
			then(open, raw(0x42, 0, 0))),
		onConnection("40 CONTINUATIONs", "ENHANCE_YOUR_CALM",
			then(open, times(40, raw(http2.FrameContinuation, 0, thisStream)))),
		onConnection("undecodable block", "COMPRESSION_ERROR", raw(http2.FrameHeaders,
			http2.FlagHeadersEndHeaders, thisStream, 0xff, 0xff, 0xff, 0xff, 0xff)),
		onConnection("index beyond the table", "COMPRESSION_ERROR",
			raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, thisStream, 0xfe)),
		onConnection("dynamic table above what we allow", "COMPRESSION_ERROR",
			raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, thisStream,
				0x3f, 0xe1, 0xff, 0x03, 0x88)),
		onConnection("PUSH_PROMISE", "PROTOCOL_ERROR", raw(http2.FramePushPromise,
			http2.FlagPushPromiseEndHeaders, thisStream, 0, 0, 0, 2, 0x82)),
	}
}

func badBodies() []misdeed {
	cut := func(name string, do func(*hostileConn, uint32)) misdeed {
		d := onStream(name, "PROTOCOL_ERROR", do)
		d.caller = "cut"
		return d
	}
	return []misdeed{
		onStream("DATA before HEADERS", "PROTOCOL_ERROR", data(true, 4)),
		onStream("DATA after an informational response", "PROTOCOL_ERROR",
			then(head(false, ":status=103"), data(true, 4))),
		cut("HEADERS twice", then(head(false, ":status=200"), head(false, ":status=200"))),
		cut("trailers without END_STREAM", then(head(false, ":status=200"), head(false, "a=b"))),
		cut("trailers with :status", then(head(false, ":status=200"), head(true, ":status=200"))),
		cut("trailers with connection",
			then(head(false, ":status=200"), head(true, "connection=close"))),
		cut("more than content-length",
			then(head(false, ":status=200", "content-length=3"), data(true, 4))),
		cut("less than content-length",
			then(head(false, ":status=200", "content-length=5"), data(true, 4))),
		cut("less than content-length, with trailers", then(
			head(false, ":status=200", "content-length=5"), data(false, 4), head(true, "a=b"))),
	}
}

func badWindows() []misdeed {
	// 8 MiB, more than all windows on the way
	over := then(head(false, ":status=200"), times(512, data(false, 16<<10)))
	return []misdeed{
		{name: "DATA beyond the stream's window", stuck: true, do: over,
			want: "RST_STREAM FLOW_CONTROL_ERROR", caller: "cut"},
		onStream("WINDOW_UPDATE of 0 on the stream", "PROTOCOL_ERROR", window(thisStream, 0)),
		onStream("the stream's window above 2^31-1", "FLOW_CONTROL_ERROR",
			window(thisStream, 1<<31-1)),
		onConnection("WINDOW_UPDATE of 0", "PROTOCOL_ERROR", window(0, 0)),
		onConnection("the connection's window above 2^31-1", "FLOW_CONTROL_ERROR",
			window(0, 1<<31-1)),
		onConnection("WINDOW_UPDATE of 3 bytes", "FRAME_SIZE_ERROR",
			raw(http2.FrameWindowUpdate, 0, 0, 0, 0, 1)),
		onConnection("WINDOW_UPDATE on an idle stream", "PROTOCOL_ERROR", window(1001, 1)),
		onStream("PRIORITY of the stream on itself", "PROTOCOL_ERROR",
			func(c *hostileConn, id uint32) {
				c.WritePriority(id, http2.PriorityParam{StreamDep: id})
			}),
		onStream("PRIORITY of 4 bytes", "FRAME_SIZE_ERROR",
			raw(http2.FramePriority, 0, thisStream, 0, 0, 0, 0)),
	}
}

func badFrames() []misdeed {
	conn := func(
		name, code string, typ http2.FrameType, flags http2.Flags, id uint32, payload ...byte,
	) misdeed {
		return onConnection(name, code, raw(typ, flags, id, payload...))
	}
	return []misdeed{
		conn("DATA on stream 0", "PROTOCOL_ERROR", http2.FrameData, 0, 0, 1),
		conn("HEADERS on stream 0", "PROTOCOL_ERROR", http2.FrameHeaders, 4, 0, 0x88),
		conn("RST_STREAM on stream 0", "PROTOCOL_ERROR", http2.FrameRSTStream, 0, 0, 0, 0, 0, 0),
		conn("PRIORITY on stream 0", "PROTOCOL_ERROR", http2.FramePriority, 0, 0, 0, 0, 0, 0, 0),
		conn("PING on a stream", "PROTOCOL_ERROR", http2.FramePing, 0, thisStream,
			0, 0, 0, 0, 0, 0, 0, 0),
		conn("PING of 7 bytes", "FRAME_SIZE_ERROR", http2.FramePing, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		conn("GOAWAY on a stream", "PROTOCOL_ERROR", http2.FrameGoAway, 0, thisStream,
			0, 0, 0, 0, 0, 0, 0, 0),
		conn("GOAWAY of 7 bytes", "FRAME_SIZE_ERROR", http2.FrameGoAway, 0, 0, 0, 0, 0, 0, 0, 0, 0),
		conn("RST_STREAM of 3 bytes", "FRAME_SIZE_ERROR", http2.FrameRSTStream, 0, thisStream,
			0, 0, 0),
		conn("HEADERS on an even stream", "PROTOCOL_ERROR", http2.FrameHeaders, 5, 2, 0x88),
		conn("response on an idle stream", "PROTOCOL_ERROR", http2.FrameHeaders, 5, 1001, 0x88),
		conn("DATA on an idle stream", "PROTOCOL_ERROR", http2.FrameData, 1, 1001, 1),
		conn("RST_STREAM on an idle stream", "PROTOCOL_ERROR", http2.FrameRSTStream,
			0, 1001, 0, 0, 0, 8),
		conn("padding as long as the frame", "PROTOCOL_ERROR", http2.FrameData,
			http2.FlagDataPadded, thisStream, 4, 0, 0, 0),
		conn("padded frame without a length", "FRAME_SIZE_ERROR", http2.FrameData,
			http2.FlagDataPadded, thisStream),
		conn("frame above MAX_FRAME_SIZE", "FRAME_SIZE_ERROR", http2.FrameData, 0, thisStream,
			make([]byte, 16<<10+1)...),
		conn("unknown frame above MAX_FRAME_SIZE", "FRAME_SIZE_ERROR", 0x42, 0, 0,
			make([]byte, 16<<10+1)...),
		{name: "garbage after the response", do: then(good, func(c *hostileConn, _ uint32) {
			io.WriteString(c, strings.Repeat("garbage!", 100))
		}), want: "closed", caller: "200 good"},
		{name: "the connection ends", do: func(c *hostileConn, _ uint32) { c.Close() },
			want: "closed", caller: "502"},
		{name: "the connection ends inside a frame",
			do:   func(c *hostileConn, _ uint32) { c.Write([]byte{0, 0, 9}); c.Close() },
			want: "closed", caller: "502"},
	}
}

// resets: the caller hears of each; what was refused is tried again, and there is nobody else here.
func resets() (list []misdeed) {
	for code := http2.ErrCodeNo; code <= http2.ErrCodeHTTP11Required; code++ {
		d := misdeed{name: fmt.Sprint("RST_STREAM ", code), do: reset(code), caller: "502"}
		if code == http2.ErrCodeRefusedStream {
			d.caller = "503"
		}
		list = append(list, d,
			misdeed{name: fmt.Sprint("RST_STREAM ", code, " inside the response"),
				do: then(head(false, ":status=200"), data(false, 4), reset(code)), caller: "cut"})
	}
	return append(list,
		misdeed{name: "RST_STREAM with an unknown code", do: reset(0x4242), caller: "502"},
		misdeed{name: "RST_STREAM NO_ERROR after the response",
			do: then(good, reset(http2.ErrCodeNo)), caller: "200 good"})
}

// goAways: what the server has not taken is sent on another connection, POST included.
func goAways() []misdeed {
	below := func(code http2.ErrCode) func(*hostileConn, uint32) {
		return func(c *hostileConn, id uint32) { goAway(id-2, code)(c, id) }
	}
	return []misdeed{
		{name: "GOAWAY below the request", do: below(http2.ErrCodeNo), caller: "200 good"},
		{name: "GOAWAY below the request, with an error", do: below(http2.ErrCodeEnhanceYourCalm),
			caller: "200 good"},
		{name: "GOAWAY below all requests", do: goAway(0, http2.ErrCodeNo), caller: "200 good"},
		{name: "GOAWAY in two phases",
			do: then(goAway(1<<31-1, http2.ErrCodeNo), below(http2.ErrCodeNo)), caller: "200 good"},
		{name: "GOAWAY and then the response", do: then(goAway(1<<31-1, http2.ErrCodeNo), good),
			caller: "200 good"},
		{name: "GOAWAY, its last stream raised again",
			do: then(below(http2.ErrCodeNo), goAway(1<<31-1, http2.ErrCodeNo)), caller: "200 good"},
	}
}

func floods() []misdeed {
	flood := func(name string, do func(*hostileConn, uint32)) misdeed {
		return onConnection("flood of "+name, "ENHANCE_YOUR_CALM", do)
	}
	cut := func(d misdeed) misdeed {
		d.caller = "cut"
		return d
	}
	return []misdeed{
		flood("PING", times(5000, raw(http2.FramePing, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))),
		flood("PING acknowledgements",
			times(5000, raw(http2.FramePing, http2.FlagPingAck, 0, 0, 0, 0, 0, 0, 0, 0, 0))),
		flood("SETTINGS", times(2000, raw(http2.FrameSettings, 0, 0))),
		flood("SETTINGS acknowledgements",
			times(5000, raw(http2.FrameSettings, http2.FlagSettingsAck, 0))),
		flood("WINDOW_UPDATE", times(5000, window(0, 1))),
		flood("PRIORITY", times(5000, raw(http2.FramePriority, 0, thisStream, 0, 0, 0, 0, 0))),
		flood("unknown frames", times(5000, raw(0x0a, 0, 0))),
		flood("RST_STREAM on a closed stream", times(5000, reset(http2.ErrCodeCancel))),
		cut(flood("empty DATA", then(head(false, ":status=200"), times(5000, data(false, 0))))),
	}
}

// tolerated: strange, and no error.
func tolerated() []misdeed {
	fine := func(name string, do func(*hostileConn, uint32)) misdeed {
		return misdeed{name: name, do: then(do, good), caller: "200 good"}
	}
	return []misdeed{
		fine("unknown settings", setting(0x4242, 1<<31)),
		fine("MAX_CONCURRENT_STREAMS=0 meanwhile", setting(http2.SettingMaxConcurrentStreams, 0)),
		fine("HEADER_TABLE_SIZE=0", setting(http2.SettingHeaderTableSize, 0)),
		fine("HEADER_TABLE_SIZE=2^32-1", setting(http2.SettingHeaderTableSize, 1<<32-1)),
		fine("INITIAL_WINDOW_SIZE=0 and back", then(setting(http2.SettingInitialWindowSize, 0),
			setting(http2.SettingInitialWindowSize, 65535))),
		fine("unknown frames 0x0a to 0x0f", func(c *hostileConn, id uint32) {
			for typ := http2.FrameType(0x0a); typ <= 0x0f; typ++ {
				raw(typ, 0xff, id, 1, 2, 3)(c, id)
				raw(typ, 0xff, 1001)(c, id)
			}
		}),
		fine("PING that is answered", raw(http2.FramePing, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)),
		fine("PRIORITY on an idle stream", raw(http2.FramePriority, 0, 1001, 0, 0, 0, 0, 0)),
		fine("three informational responses", times(3, head(false, ":status=103", "link=l"))),
		{name: "SETTINGS never acknowledged", mute: true, do: good, caller: "200 good"},
		{name: "frames after the response's end", do: then(good, data(true, 4), head(true, "a=b"),
			window(thisStream, 1), reset(http2.ErrCodeCancel)), caller: "200 good"},
		{name: "an early response",
			do: then(head(true, ":status=403"), reset(http2.ErrCodeNo)), caller: "403"},
		{name: "padding", do: then(head(false, ":status=200", "content-length=4"),
			func(c *hostileConn, id uint32) {
				c.WriteDataPadded(id, true, []byte("good"), make([]byte, 200))
			}), caller: "200 good"},
	}
}
