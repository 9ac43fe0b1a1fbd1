package h1

// common gives a constant for the names that nearly every message has, so that even a first message
// allocates few.
func common(b []byte) string { return commonNames[string(b)] }

var commonNames = namesByThemselves(
	"accept", "accept-encoding", "accept-language", "authorization", "cache-control",
	"connection", "content-encoding", "content-length", "content-type", "cookie", "date", "etag",
	"expect", "host", "keep-alive", "last-modified", "location", "origin", "referer", "server",
	"set-cookie", "te", "traceparent", "transfer-encoding", "upgrade", "user-agent", "vary",
	"x-forwarded-for", "x-request-id",
)

func namesByThemselves(list ...string) map[string]string {
	m := make(map[string]string, len(list))
	for _, name := range list {
		m[name] = name
	}
	return m
}

func methodName(old string, b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "OPTIONS":
		return "OPTIONS"
	case "PATCH":
		return "PATCH"
	}
	return reuse(old, b)
}

// reason is the phrase of a status line. HTTP/2 does not carry one; a client must not read it (RFC
// 9112 §4).
func reason(code int) string {
	switch code {
	case 100:
		return "Continue"
	case 101:
		return "Switching Protocols"
	case 103:
		return "Early Hints"
	case 200:
		return "OK"
	case 201:
		return "Created"
	case 202:
		return "Accepted"
	case 204:
		return "No Content"
	case 206:
		return "Partial Content"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Found"
	case 303:
		return "See Other"
	case 304:
		return "Not Modified"
	case 307:
		return "Temporary Redirect"
	case 308:
		return "Permanent Redirect"
	}
	return errorReason(code)
}

func errorReason(code int) string {
	switch code {
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 408:
		return "Request Timeout"
	case 409:
		return "Conflict"
	case 413:
		return "Content Too Large"
	case 414:
		return "URI Too Long"
	case 422:
		return "Unprocessable Content"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 500:
		return "Internal Server Error"
	case 501:
		return "Not Implemented"
	case 502:
		return "Bad Gateway"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Gateway Timeout"
	case 505:
		return "HTTP Version Not Supported"
	}
	return ""
}
