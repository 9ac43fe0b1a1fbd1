package api

// What one stream may carry. Both ends hold to these.
const (
	// MaxRequest bounds a report: 1,024 series with the longest labels that still make sense.
	MaxRequest = 4 << 20
	// MaxResponse bounds viz's word on a report, which is two numbers, and its taps and questions.
	MaxResponse = 64 << 10
	// MaxEndpoints is of how many endpoints a proxy tells at once, which is some 30 KiB.
	MaxEndpoints = 100
	// MaxQuestions is how many questions about endpoints viz asks a proxy at once, and MaxClusters
	// about how many clusters each is. A question is some 2 KiB then.
	MaxQuestions = 8
	MaxClusters  = 16
)
