package rpc

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

func TestTimeoutValue(t *testing.T) {
	for _, tt := range []struct {
		d    time.Duration
		want string
	}{
		{1, "1n"},
		{99_999_999, "99999999n"},
		{100 * time.Millisecond, "100000u"},
		{100*time.Millisecond + 1, "100001u"},
		{time.Second, "1000000u"},
		{100 * time.Second, "100000m"},
		{30 * time.Hour, "108000S"},
		{1200 * 24 * time.Hour, "1728000M"},
		{1<<63 - 1, "2562048H"},
	} {
		if got := timeoutValue(tt.d); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.d, got, tt.want)
		}
	}
}

func TestPercentDecode(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain": "plain", "a%20b": "a b", "%E2%80%94": "—", "100%": "100%",
		"%zz%4": "%zz%4", "%": "%", "%ff": "�", "%2": "%2",
	} {
		if got := percentDecode(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestTrailerStatus(t *testing.T) {
	for _, tt := range []struct {
		code string
		want Code
	}{
		{"0", OK}, {"16", Unauthenticated}, {"", Unknown}, {"-1", Unknown}, {"x", Unknown},
		{"99999999999", Unknown},
	} {
		s := trailerStatus(tt.code, "m")
		if (s == nil) != (tt.want == OK) || s != nil && s.Code != tt.want {
			t.Errorf("%q: %v", tt.code, s)
		}
	}
}

func TestHTTPStatus(t *testing.T) {
	for status, want := range map[string]Code{
		"400": Internal, "401": Unauthenticated, "403": PermissionDenied, "404": Unimplemented,
		"429": Unavailable, "502": Unavailable, "503": Unavailable, "504": Unavailable,
		"200": Unknown, "500": Unknown, "302": Unknown,
	} {
		if got := httpStatus(status); got.Code != want {
			t.Errorf("%s: %v", status, got)
		}
	}
}

func TestCodeNames(t *testing.T) {
	if OK.String() != "OK" || Unauthenticated.String() != "Unauthenticated" ||
		Code(17).String() != "Code(17)" {
		t.Error(OK, Unauthenticated, Code(17))
	}
	if codeOf(nil) != OK || codeOf(errClosed) != Unknown {
		t.Error(codeOf(nil), codeOf(errClosed))
	}
}

func framed(messages ...[]byte) []byte {
	var b []byte
	for _, m := range messages {
		b = binary.BigEndian.AppendUint32(append(b, 0), uint32(len(m)))
		b = append(b, m...)
	}
	return b
}

func TestFrameMessage(t *testing.T) {
	b, err := frameMessage(wrapperspb.Bytes([]byte("hello")), maxMessage)
	if err != nil || !bytes.Equal(b, framed([]byte("\n\x05hello"))) {
		t.Fatalf("%q %v", b, err)
	}
	b, err = frameMessage(wrapperspb.Bytes(nil), maxMessage)
	if err != nil || !bytes.Equal(b, framed(nil)) {
		t.Fatalf("%q %v", b, err)
	}
}

func TestDeframer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		in      []byte
		want    int
		partial bool
		code    Code
	}{
		{"nothing", nil, 0, false, OK},
		{"half a head", []byte{0, 0}, 0, true, OK},
		{"head only", framed([]byte("abc"))[:5], 0, true, OK},
		{"one", framed([]byte("abc")), 1, false, OK},
		{"empty ones", framed(nil, nil, nil), 3, false, OK},
		{"one and a half", framed([]byte("abc"), []byte("def"))[:14], 1, true, OK},
		{"compressed", []byte{1, 0, 0, 0, 0}, 0, false, Internal},
		{"too long", []byte{0, 0, 0x40, 0, 1}, 0, false, ResourceExhausted},
		{"far too long", []byte{0, 255, 255, 255, 255}, 0, false, ResourceExhausted},
	} {
		d := deframer{most: maxMessage}
		var got int
		s := d.push(tt.in, func([]byte) { got++ })
		if got != tt.want || (s == nil) != (tt.code == OK) || s != nil && s.Code != tt.code ||
			s == nil && d.partial() != tt.partial {
			t.Errorf("%s: %d messages, partial %v, %v", tt.name, got, d.partial(), s)
		}
	}
}

// However the bytes are cut, the messages are the same, and a length alone costs no memory.
func FuzzDeframer(f *testing.F) {
	f.Add(framed([]byte("a"), nil, []byte("bcd")), uint8(1))
	f.Add([]byte{0, 0, 0x3f, 0xff, 0xff, 1, 2, 3}, uint8(2))
	f.Add([]byte{1, 0, 0, 0, 0}, uint8(3))
	f.Add([]byte{0, 0, 0x40, 0, 1}, uint8(4))
	f.Fuzz(func(t *testing.T, in []byte, size uint8) {
		whole, wholeStatus := deframe(t, in, len(in)+1)
		cut, cutStatus := deframe(t, in, int(size)+1)
		if !slices.EqualFunc(whole, cut, bytes.Equal) ||
			(wholeStatus == nil) != (cutStatus == nil) {
			t.Fatalf("whole %q %v, cut by %d %q %v", whole, wholeStatus, size, cut, cutStatus)
		}
		if back := framed(whole...); !bytes.HasPrefix(in, back) {
			t.Fatalf("%q is not what came: %q", back, in)
		}
	})
}

func deframe(t *testing.T, in []byte, size int) (messages [][]byte, s *Status) {
	d := deframer{most: maxMessage}
	for p := range slices.Chunk(in, size) {
		if s = d.push(p, func(b []byte) { messages = append(messages, b) }); s != nil {
			return messages, s
		}
		if cap(d.msg) > 2*len(in)+64 {
			t.Fatalf("%d bytes reserved for %d", cap(d.msg), len(in))
		}
	}
	return messages, nil
}
