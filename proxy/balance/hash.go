package balance

import (
	"math/bits"
	"net/netip"
)

// Keys and endpoints are hashed by XXH64 (https://github.com/Cyan4973/xxHash, its specification),
// for all proxies must agree where a key falls: whatever their version, their processor, and their
// start. hash/maphash promises nothing between two processes, and FNV-1a puts keys that differ in
// their last byte side by side. It is Envoy's hash too, so that tables are the same as Envoy's.
const (
	prime1 uint64 = 11400714785074694791
	prime2 uint64 = 14029467366897019727
	prime3 uint64 = 1609587929392839161
	prime4 uint64 = 9650029242287828579
	prime5 uint64 = 2870177450012600261
)

// Hash is what a key of a request is looked up by.
func Hash(s string) uint64 { return xxh64(s, 0) }

// HashAddress is what an address is looked up by, the same for both spellings of an IPv4 one.
func HashAddress(a netip.Addr) uint64 {
	b := a.As16()
	return xxh64(string(b[:]), 0)
}

func xxh64(s string, seed uint64) uint64 {
	h, n := seed+prime5, uint64(len(s))
	if len(s) >= stripe {
		h, s = stripes(s, seed)
	}
	h += n
	for ; len(s) >= 8; s = s[8:] {
		h ^= round(0, le64(s))
		h = bits.RotateLeft64(h, 27)*prime1 + prime4
	}
	if len(s) >= 4 {
		h ^= le32(s) * prime1
		h = bits.RotateLeft64(h, 23)*prime2 + prime3
		s = s[4:]
	}
	for i := range len(s) {
		h ^= uint64(s[i]) * prime5
		h = bits.RotateLeft64(h, 11) * prime1
	}
	h = (h ^ h>>33) * prime2
	h = (h ^ h>>29) * prime3
	return h ^ h>>32
}

// stripe is what four lanes take at a time, bytes.
const stripe = 32

func stripes(s string, seed uint64) (h uint64, rest string) {
	v1, v2, v3, v4 := seed+prime1+prime2, seed+prime2, seed, seed-prime1
	for ; len(s) >= stripe; s = s[stripe:] {
		v1 = round(v1, le64(s))
		v2 = round(v2, le64(s[8:]))
		v3 = round(v3, le64(s[16:]))
		v4 = round(v4, le64(s[24:]))
	}
	h = bits.RotateLeft64(v1, 1) + bits.RotateLeft64(v2, 7) +
		bits.RotateLeft64(v3, 12) + bits.RotateLeft64(v4, 18)
	for _, v := range [...]uint64{v1, v2, v3, v4} {
		h = (h^round(0, v))*prime1 + prime4
	}
	return h, s
}

func round(acc, input uint64) uint64 { return bits.RotateLeft64(acc+input*prime2, 31) * prime1 }

func le32(s string) uint64 {
	_ = s[3]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24
}

func le64(s string) uint64 { return le32(s) | le32(s[4:])<<32 }
