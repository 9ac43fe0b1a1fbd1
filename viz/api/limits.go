package api

// What one stream may carry. Both ends hold to these.
const (
	// MaxRequest bounds a report: 1,024 series with the longest labels that still make sense.
	MaxRequest = 4 << 20
	// MaxResponse bounds viz's word on a report, which is two numbers, with room for what it may
	// ask one day.
	MaxResponse = 64 << 10
)
