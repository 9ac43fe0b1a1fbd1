package identity

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/api"
)

// maxToken: a projected token is about 1.2 KiB, more with many audiences, of which ours has one.
const maxToken = 8 << 10

// attested is what a caller proved. What it claims besides is compared with this and never
// believed.
type attested struct {
	ID     spiffeid.ID
	Pod    string
	PodUID string
}

// attestor tells from a request who sent it. Its errors are gRPC statuses whose text goes to the
// caller and to an event.
type attestor interface {
	attest(context.Context, *api.CertifyRequest) (attested, error)
}

// tokenText bounds a token before anything is done with it.
func tokenText(token, kind string) (string, error) {
	switch {
	case token == "":
		return "", status.Errorf(codes.InvalidArgument, "the attestation has no %s", kind)
	case len(token) > maxToken:
		return "", status.Errorf(codes.InvalidArgument,
			"the %s has %d bytes, at most %d are accepted", kind, len(token), maxToken)
	}
	return token, nil
}
