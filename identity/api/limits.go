package api

// What one call may carry. Both ends hold to these.
const (
	// MaxRequest bounds a message to identity: a token and a CSR at their own bounds, and some.
	MaxRequest = 16 << 10
	// MaxResponse bounds a message from identity: every bundle there is, 64 roots of a KiB for each
	// of some federated trust domains.
	MaxResponse = 1 << 20
)
