package crd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// How the two kinds are called on the outside, that of a namespace and the cluster's.
const (
	TapSessionKind        = "TapSession"
	TapSessions           = "tapsessions"
	ClusterTapSessionKind = "ClusterTapSession"
	ClusterTapSessions    = "clustertapsessions"
)

// TapSessionLifetime is how long a session is good for after its creation. Who needs it longer
// makes another.
const TapSessionLifetime = time.Hour

// TapSessionResource is what a dynamic client asks for.
func TapSessionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: TapSessions}
}

// ClusterTapSessionResource is the same for sessions of the whole cluster.
func ClusterTapSessionResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: ClusterTapSessions}
}

// TapSession lets who holds a nonce watch the requests of a namespace, for a while: so the API
// server decides who may tap, and its audit log says who did. One of the cluster, which only a
// right in the whole cluster creates, is for all namespaces, and has the same form. Nothing secret
// is in it.
//
// +kubebuilder:object:root=true
type TapSession struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec TapSessionSpec `json:"spec"`
}

// TapSessionSpec says by what a holder is known.
type TapSessionSpec struct {
	NonceHash string `json:"nonceHash"` // SHA-256 of the nonce, in hexadecimal digits
}

// NewTapNonce makes a nonce, of 260 random bits.
func NewTapNonce() string { return rand.Text() + rand.Text() }

// TapNonceHash is what a session says of a nonce.
func TapNonceHash(nonce string) string {
	hash := sha256.Sum256([]byte(nonce))
	return hex.EncodeToString(hash[:])
}

// Hash is the nonce's.
func (s *TapSessionSpec) Hash() (hash [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(s.NonceHash)
	if err != nil || len(b) != len(hash) {
		return hash, fmt.Errorf("nonceHash %.80q is no SHA-256 in hexadecimal digits", s.NonceHash)
	}
	return [sha256.Size]byte(b), nil
}
