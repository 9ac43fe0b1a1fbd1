package h2

import (
	"math/big"
	"strings"
	"testing"
	"time"
)

// A timeout is what its digits and unit say, or the longest there is.
func FuzzGRPCTimeout(f *testing.F) {
	for _, s := range []string{"1S", "99999999H", "0n", "1", "S", "123456789m", "-1S", "+1S",
		"2562048H"} {
		f.Add(s)
	}
	units := map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second,
		'm': time.Millisecond, 'u': time.Microsecond, 'n': 1}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseGRPCTimeout(s)
		if !ok {
			return
		}
		digits := s[:len(s)-1]
		n, isNumber := new(big.Int).SetString(digits, 10)
		if !isNumber || strings.Trim(digits, "0123456789") != "" || len(digits) > 8 {
			t.Fatalf("%q is %v", s, d)
		}
		exact := n.Mul(n, big.NewInt(int64(units[s[len(s)-1]])))
		if want := big.NewInt(int64(longestGRPCTimeout)); exact.Cmp(want) > 0 {
			exact = want
		}
		if exact.Int64() != int64(d) {
			t.Fatalf("%q is %v, want %v ns", s, d, exact)
		}
	})
}
