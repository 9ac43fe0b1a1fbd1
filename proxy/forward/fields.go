package forward

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/route"
	"golang.org/x/net/http2/hpack"
)

// takeRequest keeps the head that the exchange will send, with only the headers that its sender may
// set.
func (x *exchange) takeRequest(fields []hpack.HeaderField) {
	c := x.c
	x.http1 = c.http1
	if c.refuses() { // a proxy's, which says what it translated
		x.http1 = header.Value(fields, header.Proto) == header.ProtoHTTP1
	}
	x.req = header.Keep(newHead(len(fields)+2), fields)
	if id := c.side.callerID(); id != "" {
		x.req = append(x.req, hpack.HeaderField{Name: header.ClientID, Value: id})
	}
	x.nameCaller()
	x.nameAuthority()
	x.grpc = h2.IsGRPC(header.Value(fields, "content-type"))
	x.takeTunnel(fields)
}

// takeTunnel notes whether what follows the head is not HTTP's. Every upgrade is a CONNECT in
// HTTP/2 (RFC 8441); whoever looks at the request sees the method that the application will see.
func (x *exchange) takeTunnel(fields []hpack.HeaderField) {
	method := header.Value(fields, ":method")
	upgrade := header.Value(fields, ":protocol") != ""
	x.tunnel = upgrade || method == "CONNECT"
	x.shared, x.asked = x.tunnel, x.tunnel
	if upgrade {
		x.upload, _ = strconv.ParseUint(header.Value(fields, h1.UpgradeLengthField), 10, 63)
	}
	if !upgrade || method != "CONNECT" {
		return
	}
	method = "GET"
	if said := header.Value(fields, header.Method); said != "" && x.c.refuses() {
		method = said
	}
	setValue(x.req, ":method", method)
}

// setValue changes the first field of that name.
func setValue(fields []hpack.HeaderField, name, value string) {
	for i := range fields {
		if fields[i].Name == name {
			fields[i].Value = value
			return
		}
	}
}

// meshUpgrade makes of an upgrade what HTTP/2 knows.
func meshUpgrade(fields []hpack.HeaderField) []hpack.HeaderField {
	if header.Value(fields, ":protocol") == "" {
		return fields
	}
	method := header.Value(fields, ":method")
	setValue(fields, ":method", "CONNECT")
	if method == "GET" {
		return fields
	}
	return append(fields, hpack.HeaderField{Name: header.Method, Value: method})
}

// dropField takes a field off, in place.
func dropField(fields []hpack.HeaderField, name string) []hpack.HeaderField {
	return slices.DeleteFunc(fields, func(f hpack.HeaderField) bool { return f.Name == name })
}

// nameCaller says where a caller without an identity calls from, as any proxy would, for the
// application sees only this one's connections. What the caller says itself comes first, unless it
// is doubted.
func (x *exchange) nameCaller() {
	from := x.c.side.address()
	if from == "" {
		return
	}
	if x.c.side.doubted() {
		x.req = slices.DeleteFunc(x.req, saysOfCallers)
	}
	proto, last := false, -1
	for i := range x.req {
		switch x.req[i].Name {
		case "x-forwarded-proto":
			proto = true
		case "x-forwarded-for":
			last = i
		}
	}
	if last >= 0 {
		x.req[last].Value += ", " + from
	} else {
		x.req = append(x.req, hpack.HeaderField{Name: "x-forwarded-for", Value: from})
	}
	if !proto {
		x.req = append(x.req, hpack.HeaderField{Name: "x-forwarded-proto", Value: "http"})
	}
}

// saysOfCallers: proxies say there whom they were called by, and how.
func saysOfCallers(f hpack.HeaderField) bool {
	return f.Name == "forwarded" || f.Name == "x-real-ip" ||
		strings.HasPrefix(f.Name, "x-forwarded-")
}

// nameAuthority names what a request is for that does not say so itself, as HTTP/1.0 allows: what
// goes out in HTTP/1.1 must have a Host, which servers such as nginx refuse if it is empty. A
// caller that says an empty one means it.
func (x *exchange) nameAuthority() {
	last := 0
	for i := range x.req {
		switch x.req[i].Name {
		case ":authority", "host":
			return
		case ":scheme":
			last = i + 1
		}
	}
	if last == 0 { // a CONNECT of HTTP/2's, which has nothing but an authority
		return
	}
	x.req = slices.Insert(x.req, last,
		hpack.HeaderField{Name: ":authority", Value: x.c.side.authority()})
}

// head is the request's head as it goes out with a, in memory that b keeps until it is flushed.
func (a *attempt) head(b *batch) []hpack.HeaderField {
	if b.head == nil {
		b.head = newHead(0)
	}
	b.head = a.x.upstreamFields(b.head[:0], a)
	return b.head
}

// upstreamFields is the head as it goes out with a, appended to dst.
func (x *exchange) upstreamFields(dst []hpack.HeaderField, a *attempt) []hpack.HeaderField {
	dst = append(dst, x.req...)
	dst = route.Edit(x.rule.Filters, false, dst)
	dst = route.Edit(x.backend.Filters, false, dst)
	dst = x.tellAttempts(x.spokenTo(dst, a.endpoint, a.pool.kind))
	return x.tellTrace(x.tellHop(dst, a.endpoint), a)
}

// spokenTo is a head as e is told it, in what a connection of its kind speaks.
func (x *exchange) spokenTo(
	dst []hpack.HeaderField, e *balance.Endpoint, k kind,
) []hpack.HeaderField {
	if e.Meshed() && x.inHTTP1(e) {
		dst = append(dst, hpack.HeaderField{Name: header.Proto, Value: header.ProtoHTTP1})
	}
	switch {
	case e.Meshed() && x.tunnel:
		dst = meshUpgrade(dst)
	case x.http1 && k == plainHTTP2:
		dst = dropField(dst, h1.AbsoluteField)
	}
	return x.tellDeadline(dst, e)
}

// responseFields is the head as it goes to the caller, appended to dst.
func (x *exchange) responseFields(
	dst []hpack.HeaderField,
	a *attempt,
	fields []hpack.HeaderField,
) []hpack.HeaderField {
	dst = header.Keep(dst, fields)
	if a.endpoint.Meshed() {
		if why := header.Value(fields, header.Error); why != "" {
			dst = append(dst, hpack.HeaderField{Name: header.Error, Value: why})
			x.becausePeer(why)
		}
	}
	if x.given != nil {
		dst = append(dst, hpack.HeaderField{Name: "set-cookie", Value: x.given.field})
	}
	dst = route.Edit(x.rule.Filters, true, dst)
	return x.share(route.Edit(x.backend.Filters, true, dst))
}

// share has a response's fields say which page may have it, where the route says so.
func (x *exchange) share(fields []hpack.HeaderField) []hpack.HeaderField {
	if c := x.rule.CORS; c != nil {
		fields = c.Share(x.req, fields)
	}
	if x.backend != nil && x.backend.CORS != nil {
		fields = x.backend.CORS.Share(x.req, fields)
	}
	return fields
}
