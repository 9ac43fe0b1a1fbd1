package record

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// What a line says as text, field by field as in Istio's.
func TestALineAsText(t *testing.T) {
	plain := request()
	plain.Reason, plain.Detail, plain.Delayed = outcome.Plain, "", true
	plain.Labels.Direction, plain.Labels.Port, plain.Labels.Route = metric.Inbound, 8080, ""
	refused := request()
	refused.Status, refused.FirstByte, refused.Tries, refused.Endpoint = 0, 0, 0, ""
	refused.Delayed, refused.HTTP1, refused.Path = true, false, `/a b"c`
	opaque := &outcome.Record{Start: time.Unix(0, 0), RequestBytes: 1, ResponseBytes: 2,
		Labels: metric.Labels{Direction: metric.Outbound}, ClientAddress: "[::1]:4",
		Request: outcome.Request{Latency: time.Second}, Reason: outcome.Denied, Detail: "no"}
	for name, tt := range map[string]struct {
		r    *outcome.Record
		want string
	}{
		"outbound": {request(), `[2026-01-02T02:04:05.678Z] "POST /order HTTP/1.1" 200 UT ` +
			`try_timeout - "why" 3 0 12 2 "-" "curl/8" "id-1" "web:80" "10.0.0.1:8080" ` +
			`web-v2.shop.svc.cluster.local:80 - - 127.0.0.1:5555 - order`},
		"inbound, and plain": {plain, `[2026-01-02T02:04:05.678Z] "POST /order HTTP/1.1" 200 DI ` +
			`via_upstream - "-" 3 0 12 2 "-" "curl/8" "id-1" "web:80" "10.0.0.1:8080" ` +
			`inbound|8080|| - - 127.0.0.1:5555 - default`},
		"not answered": {refused, `[2026-01-02T02:04:05.678Z] "POST /a\u0020b\u0022c HTTP/2" 0 ` +
			`DI,UT try_timeout - "why" 3 0 12 - "-" "curl/8" "id-1" "web:80" "-" ` +
			`web-v2.shop.svc.cluster.local:80 - - 127.0.0.1:5555 - order`},
		"opaque": {opaque, `[1970-01-01T00:00:00.000Z] "- - -" 0 UAEX denied - "no" 1 2 1000 - ` +
			`"-" "-" "-" "-" "-" - - - [::1]:4 - default`},
	} {
		got := appendText(nil, tt.r)
		if string(got) != tt.want+"\n" || !textLine.Match(got) {
			t.Errorf("%s: got\n%s want\n%s", name, got, tt.want)
		}
	}
	if got := appendDropped(nil, time.Unix(0, 0), 3, true); !textLine.Match(got) {
		t.Errorf("%s has another form", got)
	}
}
