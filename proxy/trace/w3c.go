package trace

import (
	"encoding/hex"
	"slices"

	"golang.org/x/net/http2/hpack"
)

// The flags of traceparent (Trace Context Level 2, §3.2.2.5). Others must not be passed on.
const (
	flagSampled = 1 << iota
	flagRandom
)

// parseParent reads a traceparent (Trace Context §3.2.2): version, trace, span and flags. Of a
// later version what is known is read, and what follows is ignored.
func parseParent(s string) (c Context, ok bool) {
	const length = 55
	var version, flags [1]byte
	switch {
	case len(s) < length || s[2] != '-' || s[35] != '-' || s[52] != '-':
		return Context{}, false
	case !unhex(version[:], s[:2]) || !unhex(flags[:], s[53:length]):
		return Context{}, false
	case !unhex(c.Trace[:], s[3:35]) || !unhex(c.Parent[:], s[36:52]):
		return Context{}, false
	case version[0] == 0xff || c.Trace == ID{} || c.Parent == SpanID{}:
		return Context{}, false
	case len(s) > length && (version[0] == 0 || s[length] != '-'):
		return Context{}, false
	}
	c.Choice = No
	if flags[0]&flagSampled != 0 {
		c.Choice = Yes
	}
	c.random = flags[0]&flagRandom != 0
	return c, true
}

func (c *Context) writeW3C(head []hpack.HeaderField, span SpanID) []hpack.HeaderField {
	state := c.State(head)
	head = slices.DeleteFunc(head, func(f hpack.HeaderField) bool {
		return f.Name == fieldParent || f.Name == fieldState
	})
	b := make([]byte, 0, 55)
	b = append(hex.AppendEncode(append(b, "00-"...), c.Trace[:]), '-')
	b = append(hex.AppendEncode(b, span[:]), '-')
	b = hex.AppendEncode(b, []byte{c.Flags()})
	head = append(head, hpack.HeaderField{Name: fieldParent, Value: string(b)})
	if state != "" {
		head = append(head, hpack.HeaderField{Name: fieldState, Value: state})
	}
	return head
}
