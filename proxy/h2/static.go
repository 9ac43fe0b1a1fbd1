package h2

import "golang.org/x/net/http2/hpack"

// staticFields is HPACK's static table (RFC 7541, appendix A); its first index is 1.
var staticFields = [...]hpack.HeaderField{
	{
		Name: ":authority",
	}, {Name: ":method", Value: "GET"}, {Name: ":method", Value: "POST"},
	{Name: ":path", Value: "/"},
	{
		Name:  ":path",
		Value: "/index.html",
	}, {Name: ":scheme", Value: "http"}, {Name: ":scheme", Value: "https"},
	{
		Name:  ":status",
		Value: "200",
	}, {Name: ":status", Value: "204"}, {Name: ":status", Value: "206"},
	{Name: ":status", Value: "304"},
	{
		Name:  ":status",
		Value: "400",
	}, {Name: ":status", Value: "404"}, {Name: ":status", Value: "500"}, {Name: "accept-charset"},
	{
		Name:  "accept-encoding",
		Value: "gzip, deflate",
	}, {Name: "accept-language"}, {Name: "accept-ranges"}, {Name: "accept"},
	{
		Name: "access-control-allow-origin",
	}, {Name: "age"}, {Name: "allow"}, {Name: "authorization"}, {Name: "cache-control"},
	{
		Name: "content-disposition",
	}, {Name: "content-encoding"}, {Name: "content-language"}, {Name: "content-length"},
	{
		Name: "content-location",
	}, {Name: "content-range"}, {Name: "content-type"}, {Name: "cookie"},
	{Name: "date"}, {Name: "etag"},
	{
		Name: "expect",
	}, {Name: "expires"}, {Name: "from"}, {Name: "host"}, {Name: "if-match"},
	{Name: "if-modified-since"},
	{
		Name: "if-none-match",
	}, {Name: "if-range"}, {Name: "if-unmodified-since"}, {Name: "last-modified"}, {Name: "link"},
	{
		Name: "location",
	}, {Name: "max-forwards"}, {Name: "proxy-authenticate"},
	{Name: "proxy-authorization"}, {Name: "range"},
	{
		Name: "referer",
	}, {Name: "refresh"}, {Name: "retry-after"}, {Name: "server"}, {Name: "set-cookie"},
	{
		Name: "strict-transport-security",
	}, {Name: "transfer-encoding"}, {Name: "user-agent"}, {Name: "vary"}, {Name: "via"},
	{Name: "www-authenticate"},
}

const staticLen = len(staticFields)

// staticSlots is more than four times the table, so that a search ends after a probe or two.
const staticSlots = 256

// staticPairs and staticNames find an index by name and value, and by name alone; 0 ends a probe.
var staticPairs, staticNames = func() (pairs, names [staticSlots]uint8) {
	for i, f := range staticFields {
		if f.Value != "" {
			insertStatic(&pairs, fieldHash(f.Name, f.Value), i+1)
		}
		if i == 0 || staticFields[i-1].Name != f.Name {
			insertStatic(&names, fieldHash(f.Name, ""), i+1)
		}
	}
	return pairs, names
}()

func insertStatic(slots *[staticSlots]uint8, hash uint32, index int) {
	for ; slots[hash%staticSlots] != 0; hash++ {
	}
	slots[hash%staticSlots] = uint8(index)
}

func staticPair(f *hpack.HeaderField) int {
	for h := fieldHash(f.Name, f.Value); ; h++ {
		i := int(staticPairs[h%staticSlots])
		if i == 0 || staticFields[i-1].Name == f.Name && staticFields[i-1].Value == f.Value {
			return i
		}
	}
}

func staticName(name string) int {
	for h := fieldHash(name, ""); ; h++ {
		i := int(staticNames[h%staticSlots])
		if i == 0 || staticFields[i-1].Name == name {
			return i
		}
	}
}

// fieldHash looks at a few bytes only: what it finds is compared in full, and a collision costs
// compression, nothing else.
func fieldHash(name, value string) uint32 {
	h := uint32(len(name))<<8 | uint32(len(value))
	if n := len(name); n > 0 {
		h = h*31 + uint32(name[0])<<8 + uint32(name[n-1]) + uint32(name[n/2])<<4
	}
	if n := len(value); n > 0 {
		h = h*31 + uint32(value[0])<<8 + uint32(value[n-1]) + uint32(value[n/2])<<4
	}
	h *= 0x9E3779B1
	return h>>24 ^ h>>12
}
