package header

import (
	"strconv"
	"time"
)

// RetryAfter reads the value of a Retry-After (RFC 9110 §10.2.3), seconds or a date, as a time from
// now. It is 0 where there is none, or none that is still to come.
func RetryAfter(value string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	for _, layout := range dates {
		if at, err := time.Parse(layout, value); err == nil {
			return max(at.Sub(now), 0)
		}
	}
	return 0
}

// dates are the forms of an HTTP-date (RFC 9110 §5.6.7), the one in use first.
var dates = [...]string{
	"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC,
}
