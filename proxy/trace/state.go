package trace

import (
	"slices"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// Bounds of a tracestate (Trace Context §3.3). Whoever passes one on must carry 512 characters of
// it at least; we carry more.
const (
	maxState   = 2 << 10
	maxMembers = 32
	maxKey     = 256
	maxValue   = 256
	// longMember is how long a member must be to be left out before others are.
	longMember = 128
)

// joinState is a head's tracestate, in which several fields are one list; empty: there is none, or
// it is not valid, and is not passed on.
func joinState(head []hpack.HeaderField) string {
	var members []string
	first := ""
	for i := range head {
		if head[i].Name != fieldState {
			continue
		}
		if members == nil {
			first = head[i].Value
		}
		for member := range strings.SplitSeq(head[i].Value, ",") {
			member = strings.Trim(member, " \t")
			switch {
			case member == "":
				continue
			case !validMember(member) || len(members) == maxMembers:
				return ""
			}
			members = append(members, member)
		}
	}
	joined := strings.Join(trimState(members), ",")
	if joined == first {
		return first
	}
	return joined
}

// trimState leaves members out until the rest is short enough: long ones first, and those that were
// changed last stay longest (§3.3.1.5).
func trimState(members []string) []string {
	size := max(len(members)-1, 0)
	for _, m := range members {
		size += len(m)
	}
	for i := len(members) - 1; i >= 0 && size > maxState; i-- {
		if len(members[i]) > longMember {
			size -= len(members[i]) + 1
			members = slices.Delete(members, i, i+1)
		}
	}
	for len(members) > 0 && size > maxState {
		size -= len(members[len(members)-1]) + 1
		members = members[:len(members)-1]
	}
	return members
}

func validMember(m string) bool {
	key, value, ok := strings.Cut(m, "=")
	if !ok || key == "" || len(key) > maxKey || value == "" || len(value) > maxValue {
		return false
	}
	if strings.IndexByte("_-*/@", key[0]) >= 0 {
		return false
	}
	for i := range len(key) {
		c := key[i]
		letter := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !letter && strings.IndexByte("_-*/@", c) < 0 {
			return false
		}
	}
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '=' {
			return false
		}
	}
	return true
}
