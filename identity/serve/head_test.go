package serve

import (
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/h2"
)

// Whatever a head says, it is refused or has a time that a context can bear.
func FuzzRequestHead(f *testing.F) {
	f.Add("POST", "application/grpc", "identity", "1S")
	f.Add("POST", "application/grpc+proto", "", "00000000n")
	f.Add("POST", "application/grpc;a=b", "gzip", "99999999H")
	f.Add("GET", "text/html", "", "")
	f.Add("POST", "application/grpc-web", "", "-1S")
	f.Fuzz(func(t *testing.T, method, contentType, encoding, timeout string) {
		h, err := parseHead([]hpack.HeaderField{
			{Name: ":method", Value: method}, {Name: ":path", Value: "/a.B/C"},
			{Name: "content-type", Value: contentType},
			{Name: "grpc-encoding", Value: encoding}, {Name: "grpc-timeout", Value: timeout},
		})
		if err != nil {
			return
		}
		if method != "POST" || h.path != "/a.B/C" || h.timeout <= 0 || h.timeout > longestTimeout {
			t.Errorf("%q, %q, %q: %+v", method, contentType, timeout, h)
		}
	})
}

func TestTimeouts(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "40m": 40 * time.Millisecond,
		"5u": 5 * time.Microsecond, "6n": 6, "0S": 1, "99999999H": longestTimeout,
	} {
		if got, err := parseTimeout(s); got != want || err != nil {
			t.Errorf("%s: %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "S", "1", "1s", "+1S", "-1S", "1.5S", "123456789S", "1 S"} {
		if got, err := parseTimeout(s); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}

func TestMessagesOfStatusesAreEncoded(t *testing.T) {
	for s, want := range map[string]string{
		"plain, with spaces": "plain, with spaces", "100%": "100%25", "a\nb": "a%0Ab",
		"ä": "%C3%A4", "\x00\x7f": "%00%7F",
	} {
		if got := h2.EncodeGRPCMessage(s); got != want {
			t.Errorf("%q is %q, want %q", s, got, want)
		}
	}
}
