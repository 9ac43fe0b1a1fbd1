package h2

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

var settingNames = map[string]http2.SettingID{
	"HEADER_TABLE_SIZE": 1, "ENABLE_PUSH": 2, "MAX_CONCURRENT_STREAMS": 3, "INITIAL_WINDOW_SIZE": 4,
	"MAX_FRAME_SIZE": 5, "MAX_HEADER_LIST_SIZE": 6, "ENABLE_CONNECT_PROTOCOL": 8,
}

// send is what the peer sends: FRAME [xTIMES] ...
func (s *script) send(words []string) {
	times := 1
	if rest, ok := strings.CutPrefix(words[len(words)-1], "times="); ok {
		times, _ = strconv.Atoi(rest)
		words = words[:len(words)-1]
	}
	for range times {
		s.sendOne(words[0], parseArgs(words[1:]))
	}
}

func (s *script) sendOne(frame string, a args) {
	code := http2.ErrCode(codeByName(a.words))
	switch frame {
	case "HEADERS":
		s.fr.WriteHeaders(
			http2.HeadersFrameParam{
				StreamID:      a.n[0],
				BlockFragment: s.encode(a.fields),
				EndStream:     a.words["end"],
				EndHeaders:    !a.words["more"],
			},
		)
	case "CONTINUATION":
		s.fr.WriteContinuation(a.n[0], !a.words["more"], s.encode(a.fields))
	case "DATA":
		if len(a.n) > 2 {
			s.fr.WriteDataPadded(a.n[0], a.words["end"], make([]byte, a.n[1]), make([]byte, a.n[2]))
			return
		}
		s.fr.WriteData(a.n[0], a.words["end"], make([]byte, a.n[1]))
	case "RST_STREAM":
		s.fr.WriteRSTStream(a.n[0], code)
	case "WINDOW_UPDATE":
		s.fr.WriteWindowUpdate(a.n[0], a.n[1])
	case "GOAWAY":
		s.fr.WriteGoAway(a.n[0], code, nil)
	case "PING":
		for w := range a.words {
			if w != "ack" {
				s.fr.WritePing(a.words["ack"], [8]byte([]byte(w)))
			}
		}
	case "PRIORITY":
		s.fr.WritePriority(a.n[0], http2.PriorityParam{})
	case "SETTINGS":
		s.fr.WriteSettings(settingsOf(a.fields)...)
	case "MALFORMED":
		s.nextID += 2
		s.sendOne("HEADERS", parseArgs([]string{fmt.Sprint(s.nextID - 2), "end", ":method=GET"}))
	case "SELFISH":
		s.nextID += 2
		id := s.nextID - 2
		s.fr.WriteHeaders(
			http2.HeadersFrameParam{
				StreamID:   id,
				EndStream:  true,
				EndHeaders: true,
				Priority:   http2.PriorityParam{StreamDep: id},
				BlockFragment: s.encode(
					parseArgs([]string{":method=GET", ":scheme=http", ":path=/"}).fields,
				),
			},
		)
	case "CANCELLED":
		id := fmt.Sprint(s.nextID)
		s.nextID += 2
		s.sendOne(
			"HEADERS",
			parseArgs([]string{id, "end", ":method=GET", ":scheme=http", ":path=/"}),
		)
		if a.words["1s"] {
			time.Sleep(time.Second)
		}
		s.sendOne("RST_STREAM", parseArgs([]string{id, "CANCEL"}))
	case "RAW":
		for w := range a.words {
			p, _ := hex.DecodeString(strings.TrimPrefix(w, "0x"))
			s.nc.Write(p)
		}
	case "CLOSE":
		s.nc.Close()
	default:
		s.t.Fatalf("unknown frame %q", frame)
	}
}

func settingsOf(fields []hpack.HeaderField) (list []http2.Setting) {
	for _, f := range fields {
		v, _ := strconv.ParseUint(f.Value, 10, 32)
		list = append(list, http2.Setting{ID: settingNames[f.Name], Val: uint32(v)})
	}
	return list
}

func (s *script) encode(fields []hpack.HeaderField) []byte {
	s.block.Reset()
	for _, f := range fields {
		s.enc.WriteField(f)
	}
	return s.block.Bytes()
}

// call is what the owner calls, and flushes.
func (s *script) call(words []string) {
	defer s.conn.Flush()
	switch a := parseArgs(words[1:]); words[0] {
	case "goaway":
		s.conn.GoAway()
		return
	case "close":
		s.conn.Close(codeByName(a.words))
		return
	case "open":
		sink := &scriptSink{s: s}
		st, err := s.conn.OpenStream(a.fields, a.words["end"], sink)
		if err != nil {
			s.tell("%v", err)
			return
		}
		sink.id, s.streams[st.id] = st.id, st
		return
	}
	id, _ := strconv.ParseUint(words[0], 10, 32)
	st, a := s.streams[uint32(id)], parseArgs(words[2:])
	switch words[1] {
	case "headers":
		if err := st.WriteHeaders(a.fields, a.words["end"]); err != nil {
			s.tell("%v", err)
		}
	case "data":
		s.tell("%d accepted %d", id, st.WriteData(make([]byte, a.n[0]), a.words["end"]))
	case "reset":
		st.Reset(codeByName(a.words))
	case "consumed":
		st.Consumed(int(a.n[0]))
	default:
		s.t.Fatalf("unknown call %q", words[1])
	}
}
