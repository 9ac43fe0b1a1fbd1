package header

import (
	"testing"

	"golang.org/x/net/http2/hpack"
)

func TestHeaderTable(t *testing.T) {
	in := []hpack.HeaderField{
		{Name: ":status", Value: "200"}, {Name: "tulle-client-id"}, {Name: "tulle-error"},
		{Name: "tulle-proto"}, {Name: "tulle-anything"}, {Name: "x-forwarded-client-cert"},
		{Name: "x-mine"}, {Name: "tullee"},
	}
	out := Keep(nil, in)
	if len(out) != 3 || out[0].Name != ":status" || out[1].Name != "x-mine" ||
		out[2].Name != "tullee" {
		t.Errorf("kept %v", out)
	}
}
