package forward

import (
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/test/await"
)

// An application that answers an upgrade as if nothing had been asked has answered a request, which
// is recorded then and leaves nothing pending.
func TestADeclinedUpgradeIsRecorded(t *testing.T) {
	for _, body := range []string{"", "hello"} {
		h := newHarness(t)
		h.update(serve(t, "what upgrade?").Addr().String())
		c, s := h.web(), newAnswers()
		x := newExchange(c, s)
		head := []hpack.HeaderField{{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
			{Name: ":path", Value: "/"}, {Name: ":protocol", Value: "x"}}
		if body != "" {
			head = append(head, hpack.HeaderField{Name: "upgrade-length", Value: "5"})
		}
		x.OnHeaders(head, false)
		for i := range body {
			x.OnData([]byte(body[i:i+1]), false)
		}
		c.batch.flush()
		if status, said := s.wait(t); status != "200" || said != "what upgrade?" {
			t.Errorf("answered %s, %q", status, said)
		}
		await.True(t, "the request is recorded", func() bool {
			requests, _, _ := h.totals()
			return requests == 1 && c.cluster().First().Pending() == 0
		})
	}
}
