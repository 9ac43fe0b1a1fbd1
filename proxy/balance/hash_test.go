package balance

import (
	"math"
	"net/netip"
	"testing"
)

// The vectors are those of github.com/cespare/xxhash, which has them of the reference. The last
// input goes by every path: two stripes less a byte.
func TestXXH64(t *testing.T) {
	const long = "Call me Ishmael. Some years ago--never mind how long precisely-"
	for _, tt := range []struct {
		input      string
		seed, want uint64
	}{
		{"", 0, 0xef46db3751d8e999},
		{"a", 0, 0xd24ec4f1a98c6e5b},
		{"as", 0, 0x1c330fb2d66be179},
		{"asd", 0, 0x631c37ce72a97393},
		{"asdf", 0, 0x415872f599cea71e},
		{long, 0, 0x02a2e85470d6fd96},
		{"", 123, 0xe0db84de91f3e198},
		{"asdf", math.MaxUint64, 0x9a2fd8473be539b6},
		{long, 54321, 0x1736d186daf5d1cd},
	} {
		if got := xxh64(tt.input, tt.seed); got != tt.want {
			t.Errorf("%q with %d: %x, want %x", tt.input, tt.seed, got, tt.want)
		}
	}
}

func TestAnAddressIsTheSameInBothSpellings(t *testing.T) {
	four, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("::ffff:192.0.2.1")
	if HashAddress(four) != HashAddress(six) {
		t.Error("a caller has two hashes")
	}
	if HashAddress(four) == HashAddress(netip.MustParseAddr("192.0.2.2")) {
		t.Error("two callers have one hash")
	}
}
