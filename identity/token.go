package identity

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// What the API server says of a token that is bound to a pod (KEP-1205, KEP-2799).
const (
	podNameKey    = "authentication.kubernetes.io/pod-name"
	podUIDKey     = "authentication.kubernetes.io/pod-uid"
	accountPrefix = "system:serviceaccount:"
)

// reviewTimeout is less than a renewer's patience with one try, so that it learns the reason.
const reviewTimeout = 8 * time.Second

// tokenReview asks Kubernetes whose a token is.
type tokenReview struct {
	client      kubernetes.Interface
	trustDomain spiffeid.TrustDomain
}

func (r *tokenReview) attest(ctx context.Context, req *api.CertifyRequest) (attested, error) {
	token, err := tokenText(req.GetKubernetesToken(), "Kubernetes token")
	if err != nil {
		return attested{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	review, err := r.client.AuthenticationV1().TokenReviews().Create(
		ctx, &authentication.TokenReview{
			Spec: authentication.TokenReviewSpec{Token: token,
				Audiences: []string{names.Audience(r.trustDomain.Name())}},
		}, meta.CreateOptions{})
	if err != nil {
		return attested{}, unreviewed(ctx, err, token)
	}
	return r.judge(review.Status)
}

// unreviewed is the error for a TokenReview that the API server did not answer. The API server's
// text goes to logs and to the caller, so the token is taken out of it.
func unreviewed(ctx context.Context, err error, token string) error {
	code := codes.Unavailable
	if errors.Is(ctx.Err(), context.Canceled) {
		code = codes.Canceled
	}
	return status.Errorf(code, "ask Kubernetes to review the token: %s",
		strings.ReplaceAll(err.Error(), token, "(the token)"))
}

// judge believes a review only if everything is as a projected token of ours has it.
func (r *tokenReview) judge(s authentication.TokenReviewStatus) (attested, error) {
	if !s.Authenticated {
		return attested{}, refuse("Kubernetes does not accept the token: %s",
			cmp.Or(s.Error, "not authenticated"))
	}
	// An API server that knows no audiences leaves them empty, and then nothing says that the token
	// was meant for us.
	if want := []string{names.Audience(r.trustDomain.Name())}; !slices.Equal(s.Audiences, want) {
		return attested{}, refuse("the token is for the audiences %q, not for %q", s.Audiences,
			want)
	}
	ns, account, ok := strings.Cut(strings.TrimPrefix(s.User.Username, accountPrefix), ":")
	if !ok || !strings.HasPrefix(s.User.Username, accountPrefix) {
		return attested{}, refuse("the token is of %q, which is not a service account",
			s.User.Username)
	}
	id, err := spiffe.ForWorkload(r.trustDomain, ns, account)
	if err != nil {
		return attested{}, refuse("the token is of %q: %v", s.User.Username, err)
	}
	pod, uid := one(s.User.Extra[podNameKey]), one(s.User.Extra[podUIDKey])
	if pod == "" || uid == "" {
		return attested{}, refuse(
			"the token of %s is bound to no pod: only a token projected into a pod is taken", id)
	}
	return attested{ID: id, Pod: pod, PodUID: uid}, nil
}

func refuse(format string, args ...any) error {
	return status.Errorf(codes.Unauthenticated, format, args...)
}

// one is the only value of an extra; several would mean that it is not what we think it is.
func one(values authentication.ExtraValue) string {
	if len(values) != 1 {
		return ""
	}
	return values[0]
}
