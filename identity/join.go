package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity/api"
)

// joinTokens are dev mode's proof: whoever holds a token is the one ID that it was made for. They
// live in memory, as long as the process; a proxy renews with the token that it started with.
type joinTokens struct {
	mu     sync.Mutex // guards grants
	grants []grant
}

type grant struct {
	digest [sha256.Size]byte // not the token: nothing that reads this memory can use it
	who    attested
}

func (j *joinTokens) make(id spiffeid.ID, pod string) string {
	var b [32]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	token := base64.RawURLEncoding.EncodeToString(b[:])
	j.mu.Lock()
	defer j.mu.Unlock()
	j.grants = append(j.grants, grant{sha256.Sum256([]byte(token)), attested{ID: id, Pod: pod}})
	return token
}

func (j *joinTokens) attest(_ context.Context, req *api.CertifyRequest) (attested, error) {
	token, err := tokenText(req.GetJoinToken(), "join token")
	if err != nil {
		return attested{}, err
	}
	digest := sha256.Sum256([]byte(token))
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, g := range j.grants {
		if subtle.ConstantTimeCompare(g.digest[:], digest[:]) == 1 {
			return g.who, nil
		}
	}
	return attested{}, refuse(
		"the join token is not one of this `meshctl dev up`: start the proxy through it")
}
