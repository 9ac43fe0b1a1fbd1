package main

import "strings"

// framing: messages whose end two parsers could see in different places.
func framing() []request {
	return []request{
		refused("content-length and transfer-encoding",
			post+"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding and content-length",
			post+"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n"+smuggle),
		refused("content-length twice, different",
			post+"Content-Length: 0\r\nContent-Length: 44\r\n\r\n"+smuggle),
		refused("content-length twice, the same",
			post+"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"+smuggle),
		refused("content-length list", post+"Content-Length: 0, 44\r\n\r\n"+smuggle),
		refused("content-length signed", post+"Content-Length: +5\r\n\r\nhello"+smuggle),
		refused("content-length negative", post+"Content-Length: -1\r\n\r\n"+smuggle),
		refused("content-length hexadecimal", post+"Content-Length: 0x5\r\n\r\nhello"+smuggle),
		refused("content-length with a space", post+"Content-Length: 1 1\r\n\r\nhello"+smuggle),
		refused("content-length with an underscore",
			post+"Content-Length: 1_0\r\n\r\n0123456789"+smuggle),
		refused("content-length empty", post+"Content-Length:\r\n\r\n"+smuggle),
		refused("content-length above 2^64",
			post+"Content-Length: 18446744073709551617\r\n\r\nx"+smuggle),
		refused("transfer-encoding gzip", post+"Transfer-Encoding: gzip\r\n\r\n"+smuggle),
		refused("transfer-encoding identity", post+"Transfer-Encoding: identity\r\n\r\n"+smuggle),
		refused("transfer-encoding gzip, chunked",
			post+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding chunked, identity",
			post+"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding chunked twice", post+
			"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding xchunked",
			post+"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding quoted",
			post+"Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding after a vertical tab",
			post+"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding with a parameter",
			post+"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding, space before colon",
			post+"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding in HTTP/1.0", "POST /p HTTP/1.0\r\nHost: seen\r\n"+
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+smuggle),
		refused("transfer-encoding folded",
			post+"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"+smuggle),
	}
}

// syntax: what a lenient parser repairs.
func syntax() []request {
	return []request{
		refused("folded header", get+"A: b\r\n c\r\n\r\n"+smuggle),
		refused("folded first header", "GET /g HTTP/1.1\r\n Host: seen\r\n\r\n"+smuggle),
		refused("bare LF after the request line", "GET /g HTTP/1.1\nHost: seen\r\n\r\n"+smuggle),
		refused("bare LF after a header", get+"A: b\nC: d\r\n\r\n"+smuggle),
		refused("bare LF as the empty line", get+"A: b\r\n\n"+smuggle),
		refused("bare CR in a value", get+"A: b\rGET /smuggled HTTP/1.1\r\n\r\n"),
		refused("NUL in a value", get+"A: b\x00c\r\n\r\n"+smuggle),
		refused("control character in a value", get+"A: b\x01c\r\n\r\n"+smuggle),
		refused("NUL in a name", get+"A\x00: b\r\n\r\n"+smuggle),
		refused("space in a name", get+"A b: c\r\n\r\n"+smuggle),
		refused("space before the colon", get+"A : c\r\n\r\n"+smuggle),
		refused("no name", get+": c\r\n\r\n"+smuggle),
		refused("no colon", get+"nocolon\r\n\r\n"+smuggle),
		refused("name beyond ASCII", get+"\xc3\xa4: c\r\n\r\n"+smuggle),
		refused("pseudo-header", get+":path: /smuggled\r\n\r\n"+smuggle),
		refused("two spaces after the method", "GET  /g HTTP/1.1\r\nHost: seen\r\n\r\n"+smuggle),
		refused("tabs in the request line", "GET\t/g\tHTTP/1.1\r\nHost: seen\r\n\r\n"+smuggle),
		refused("space after the version", "GET /g HTTP/1.1 \r\nHost: seen\r\n\r\n"+smuggle),
		refused("HTTP/0.9", "GET /g\r\n"+smuggle),
		refused("lower-case version", "GET /g http/1.1\r\nHost: seen\r\n\r\n"+smuggle),
		refused("method that is no token", "G(T /g HTTP/1.1\r\nHost: seen\r\n\r\n"+smuggle),
		refused("two empty lines before", "\r\n\r\n"+get+"\r\n"+smuggle),
		{name: "HTTP/2.0 in words",
			send: "GET /g HTTP/2.0\r\nHost: seen\r\n\r\n" + smuggle, want: "505"},
		{name: "HTTP/1.2", send: "GET /g HTTP/1.2\r\nHost: seen\r\n\r\n" + smuggle, want: "505"},
		{name: "101 headers",
			send: get + strings.Repeat("A: b\r\n", 101) + "\r\n" + smuggle, want: "431"},
		{name: "header of 70 KiB",
			send: get + "A: " + strings.Repeat("x", 70<<10) + "\r\n\r\n" + smuggle, want: "431"},
		{name: "request line of 17 KiB", send: "GET /" + strings.Repeat("x", 17<<10) +
			" HTTP/1.1\r\nHost: seen\r\n\r\n" + smuggle, want: "414"},
	}
}

// targets: what routes and what is forwarded must be one string.
func targets() []request {
	target := func(name, t string) request {
		return refused(name, "GET "+t+" HTTP/1.1\r\nHost: seen\r\n\r\n"+smuggle)
	}
	same := func(t string) request {
		return request{name: "target " + t, send: "GET " + t + " HTTP/1.1\r\nHost: seen\r\n\r\n",
			want: "200", took: []string{"GET " + t},
			raw: "GET " + t + " HTTP/1.1\r\nhost: seen\r\n\r\n"}
	}
	absolute := func(name, t string) request {
		return request{name: name,
			send: "GET " + t + " HTTP/1.1\r\nHost: other\r\n\r\n", want: "200",
			took: []string{"GET " + t}, raw: "GET " + t + " HTTP/1.1\r\nhost: seen\r\n\r\n"}
	}
	return []request{
		target("fragment", "/g#f"), target("no leading slash", "g"),
		target("asterisk without OPTIONS", "*"), target("authority form", "seen:80"),
		target("NUL in the target", "/\x00"), target("space in the target", "/a b"),
		target("user information", "http://u:p@seen/"), target("empty authority", "http:///x"),
		target("scheme of another protocol", "ftp://seen/"),
		target("fragment after the authority", "http://seen#f"),
		same("/\xff\xc3\xa4"), same("//g"), same("/a//b"), same("/%2F"), same("/%5C"),
		same("/a/../b"), same("/a;b=c"), same("/a%00b"), same("/g?a=b&c=%20/../x"), same("/./g"),
		absolute("absolute form", "http://seen/g"), absolute("https", "https://seen/g"),
		{name: "absolute form, only a query",
			send: "GET http://seen?q HTTP/1.1\r\nHost: seen\r\n\r\n",
			want: "200", took: []string{"GET http://seen/?q"}},
		{name: "OPTIONS *", send: "OPTIONS * HTTP/1.1\r\nHost: seen\r\n\r\n", want: "200",
			raw: "OPTIONS * HTTP/1.1\r\nhost: seen\r\n\r\n"},
	}
}

// hosts: exactly one, in one spelling.
func hosts() []request {
	host := func(name, h string) request {
		return refused(name, "GET /g HTTP/1.1\r\n"+h+"\r\n"+smuggle)
	}
	same := func(h string) request {
		return request{
			name: "host " + h, send: "GET /g HTTP/1.1\r\nHost: " + h + "\r\n\r\n", want: "200",
			took: []string{"GET /g"}, raw: "GET /g HTTP/1.1\r\nhost: " + h + "\r\n\r\n",
		}
	}
	return []request{
		host("no host", ""), host("host twice", "Host: seen\r\nHost: other\r\n"),
		host("host twice, the same", "Host: seen\r\nHost: seen\r\n"),
		host("user information in host", "Host: u@seen\r\n"),
		host("path in host", "Host: seen/x\r\n"),
		host("space in host", "Host: se en\r\n"), host("list of hosts", "Host: seen, other\r\n"),
		host("port above 65535", "Host: seen:65536\r\n"),
		host("port that is no number", "Host: seen:http\r\n"),
		host("empty port", "Host: seen:\r\n"), host("two ports", "Host: seen:80:80\r\n"),
		host("broken IPv6", "Host: [::1\r\n"),
		{name: "empty host", send: "GET /g HTTP/1.1\r\nHost:\r\n\r\n", want: "200",
			took: []string{"GET /g"}, raw: "GET /g HTTP/1.1\r\nhost: \r\n\r\n"},
		same("SEEN"), same("seen."), same("seen:8080"), same("[::1]:80"),
		{name: "HTTP/1.0 without host", send: "GET /g HTTP/1.0\r\n\r\n", want: "200, closed",
			took: []string{"GET /g"}},
	}
}

// chunkSyntax: none of these is complete, so the application must not take it.
func chunkSyntax() []request {
	bad := func(name, body string) request {
		return refused("chunk: "+name, chunked+body+"\r\n0\r\n\r\n"+smuggle)
	}
	return []request{
		bad("0x prefix", "0x5\r\nhello"), bad("plus sign", "+5\r\nhello"),
		bad("minus sign", "-5\r\nhello"), bad("space before", " 5\r\nhello"),
		bad("space after", "5 \r\nhello"), bad("empty size", "\r\nhello"),
		bad("not hexadecimal", "g\r\nhello"), bad("underscore", "0_5\r\nhello"),
		bad("size above 2^64", "10000000000000005\r\nhello"),
		bad("size above 2^63", "8000000000000000\r\nhello"),
		bad("bare LF after the size", "5\nhello"),
		bad("bare LF in an extension", "5;a\nb\r\nhello"),
		bad("bare CR in an extension", "5;a\rb\r\nhello"),
		bad("extension of 2 KiB", "5;"+strings.Repeat("x", 2<<10)+"\r\nhello"),
		bad("20 KiB of extensions",
			strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 20)+"1\r\na"),
		bad("data too long", "5\r\nhello!"), bad("data too short", "5\r\nhell"),
		refused("chunk: bare LF after the data", chunked+"5\r\nhello\n0\r\n\r\n"+smuggle),
		refused("chunk: bare CR after the data", chunked+"5\r\nhello\r0\r\n\r\n"+smuggle),
		refused("chunk: bare LF after the last", chunked+"0\r\n\n"+smuggle),
		refused("trailer content-length", chunked+"0\r\nContent-Length: 44\r\n\r\n"+smuggle),
		refused("trailer transfer-encoding",
			chunked+"0\r\nTransfer-Encoding: chunked\r\n\r\n"+smuggle),
		refused("trailer host", chunked+"0\r\nHost: other\r\n\r\n"+smuggle),
		refused("trailer pseudo-header", chunked+"0\r\n:path: /smuggled\r\n\r\n"+smuggle),
		{name: "101 trailers", send: chunked + "0\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n" +
			smuggle, want: "431"},
	}
}

// canonical: what is legal but could be read in two ways travels in one.
func canonical() []request {
	ok := func(name, send, raw string) request {
		words := strings.Fields(send)
		return request{name: name, send: send, want: "200",
			took: []string{words[0] + " " + words[1]}, raw: raw}
	}
	sent := "POST /p HTTP/1.1\r\nhost: seen\r\n"
	return []request{
		ok("chunked", chunked+"2\r\nhe\r\n3;ext=1\r\nllo\r\n0\r\n\r\n", ""),
		ok("content-length with zeros", post+"Content-Length: 00005\r\n\r\nhello",
			sent+"content-length: 5\r\n\r\nhello"),
		ok("CHUNKED", post+"transfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n", ""),
		ok("body on GET", "GET /g HTTP/1.1\r\nHost: seen\r\nContent-Length: 5\r\n\r\nhello",
			"GET /g HTTP/1.1\r\nhost: seen\r\ncontent-length: 5\r\n\r\nhello"),
		ok("GET of content-length 0", "GET /g HTTP/1.1\r\nHost: seen\r\nContent-Length: 0\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\ncontent-length: 0\r\n\r\n"),
		ok("POST without a length", post+"\r\n", sent+"content-length: 0\r\n\r\n"),
		ok("white space around a value", "GET /g HTTP/1.1\r\nHost:\t seen \r\n"+
			"X-A: \t b c\t \r\n\r\n", "GET /g HTTP/1.1\r\nhost: seen\r\nx-a: b c\r\n\r\n"),
		ok("fields that Connection names", get+"X-A: 1\r\nConnection: close, X-A\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\n\r\n").closed(),
		ok("Connection names host and content-length", post+"Connection: host, content-length\r\n"+
			"Content-Length: 5\r\n\r\nhello", sent+"content-length: 5\r\n\r\nhello"),
		ok("Keep-Alive, Proxy-Connection, TE",
			get+"Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\n\r\n"),
		ok("TE: trailers", get+"TE: trailers\r\nConnection: TE\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\nte: trailers\r\nconnection: te\r\n\r\n"),
		ok("Upgrade to h2c is not for us to carry", get+"Upgrade: h2c\r\nHTTP2-Settings: "+
			"AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\n\r\n"),
		ok("Upgrade that the application ignores",
			get+"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
		ok("Upgrade of a request with a body that the application ignores",
			post+"Upgrade: tcp\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello",
			sent+"content-length: 5\r\nupgrade: tcp\r\nconnection: upgrade\r\n\r\nhello"),
		ok("one empty line before", "\r\n"+get+"\r\n", "GET /g HTTP/1.1\r\nhost: seen\r\n\r\n"),
		ok("identity claimed by the caller", get+"Tulle-Client-Id: smuggled\r\n"+
			"TULLE_CLIENT_ID: smuggled\r\nX_Forwarded_Client_Cert: smuggled\r\n"+
			"X-Forwarded-Client-Cert: smuggled\r\n\r\n", ""),
		ok("framing in the spelling of CGI", post+
			"Content_Length: 44\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
			sent+"content-length: 5\r\n\r\nhello"),
		ok("other names with underscores", get+"X_A: 1\r\n\r\n",
			"GET /g HTTP/1.1\r\nhost: seen\r\nx_a: 1\r\n\r\n"),
		ok("trailers are not merged into headers", chunked+"0\r\nTulle-Client-Id: smuggled\r\n"+
			"Authorization: smuggled\r\nCookie: smuggled\r\n\r\n", ""),
		{name: "Expect: 100-continue", send: post + "Expect: 100-continue\r\n" +
			"Content-Length: 5\r\n\r\nhello", want: "200", took: []string{"POST /p"}},
	}
}

// closed: the caller asked for it.
func (c request) closed() request {
	c.want += ", closed"
	return c
}
