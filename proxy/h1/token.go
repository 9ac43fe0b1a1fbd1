package h1

import "math"

// lower maps a token character (RFC 9110 §5.6.2) to its lower case, and everything else to 0.
var lower = func() (t [256]byte) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = c
	}
	for c := 'A'; c <= 'Z'; c++ {
		t[c] = byte(c) + 'a' - 'A'
	}
	return t
}()

// text is what a field value may hold: no control character but tab (RFC 9110 §5.5).
var text = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != 0x7f || c == '\t'
	}
	return t
}()

// hostChars are those of a registered name, with its percent escapes and sub-delimiters (RFC 3986
// §3.2.2).
var hostChars = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	}
	for _, c := range []byte("-._~%!$&'()*+,;=") {
		t[c] = true
	}
	return t
}()

type chars interface{ ~string | ~[]byte }

func isToken[T chars](s T) bool {
	for i := 0; i < len(s); i++ {
		if lower[s[i]] == 0 {
			return false
		}
	}
	return len(s) > 0
}

func isText[T chars](s T) bool {
	for i := 0; i < len(s); i++ {
		if !text[s[i]] {
			return false
		}
	}
	return true
}

// isLowerToken says whether s is a name as HTTP/2 wants it.
func isLowerToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := lower[s[i]]; c == 0 || c != s[i] {
			return false
		}
	}
	return len(s) > 0
}

// isTarget says whether s is an origin-form target, or "*" for OPTIONS. A fragment is never sent.
// Bytes above 0x7f are no part of a URI, but clients send UTF-8 as it is.
func isTarget[T chars](method, s T) bool {
	if len(s) == 1 && s[0] == '*' {
		return string(method) == "OPTIONS"
	}
	if len(s) == 0 || s[0] != '/' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == '#' {
			return false
		}
	}
	return true
}

// isHost says whether s is a name, an IPv4 address or an IPv6 address in brackets, and perhaps a
// port. User information is refused.
func isHost[T chars](s T) bool {
	i := 0
	if len(s) > 0 && s[0] == '[' {
		for i = 1; i < len(s) && (isHex(s[i]) || s[i] == ':' || s[i] == '.'); i++ {
		}
		if i < 3 || i == len(s) || s[i] != ']' {
			return false
		}
		i++
	} else {
		for i < len(s) && hostChars[s[i]] {
			i++
		}
		if i == 0 {
			return false
		}
	}
	return i == len(s) || s[i] == ':' && isPort(s[i+1:])
}

func isPort[T chars](s T) bool {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
		if n > math.MaxUint16 {
			return false
		}
	}
	return len(s) > 0 && len(s) <= 5
}

func isHex(c byte) bool { return unhex(c) >= 0 }

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// length parses a content-length: digits only. 18 of them are an exabyte and cannot overflow.
func length[T chars](s T) (int64, bool) {
	if len(s) == 0 || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}

// foldEqual compares with a lower-case token.
func foldEqual[T chars](s T, token string) bool {
	if len(s) != len(token) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if lower[s[i]] != token[i] {
			return false
		}
	}
	return true
}

func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}
