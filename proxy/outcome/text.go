package outcome

import (
	"strconv"
	"strings"
)

// SplitPort takes the port off an authority or an address; 0: it has none.
func SplitPort(authority string) (host string, port uint64) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, 0
	}
	port, err := strconv.ParseUint(authority[i+1:], 10, 16)
	if err != nil {
		return authority, 0
	}
	return authority[:i], port
}

var grpcNames = [...]string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
	"ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
	"OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// GRPCName is a status's name; one that there is not stays as it was sent.
func GRPCName(status string) string {
	if n, err := strconv.Atoi(status); err == nil && n >= 0 && n < len(grpcNames) {
		return grpcNames[n]
	}
	return status
}
