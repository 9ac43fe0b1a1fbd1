package crd

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// The API server takes the hash of any nonce and nothing else, of both kinds, and lets nobody
// change it.
func TestTapSessionSchema(t *testing.T) {
	for scope, definition := range map[apix.ResourceScope]*apix.CustomResourceDefinition{
		apix.NamespaceScoped: TapSessionCRD(), apix.ClusterScoped: ClusterTapSessionCRD(),
	} {
		if definition.Spec.Scope != scope {
			t.Errorf("%s is %s", definition.Name, definition.Spec.Scope)
		}
		spec := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
		sameFields(t, "spec", reflect.TypeFor[TapSessionSpec](), spec, 0)
		hash := spec.Properties["nonceHash"]
		if form := regexp.MustCompile(hash.Pattern); !form.MatchString(TapNonceHash("x")) ||
			form.MatchString(strings.ToUpper(TapNonceHash("x"))) || *hash.MaxLength != 64 {
			t.Errorf("%s takes %s", definition.Name, hash.Pattern)
		}
		if len(spec.XValidations) != 1 || spec.XValidations[0].Rule != "self == oldSelf" ||
			!reflect.DeepEqual(spec.Required, []string{"nonceHash"}) {
			t.Errorf("%s may change: %+v", definition.Name, spec)
		}
	}
}

func TestTapNonces(t *testing.T) {
	one, other := NewTapNonce(), NewTapNonce()
	if one == other || len(one) < 50 {
		t.Errorf("%q and %q", one, other)
	}
	for text, good := range map[string]bool{TapNonceHash(one): true, "": false, "abc": false,
		TapNonceHash(one)[2:]: false, strings.Repeat("x", 64): false} {
		s := TapSessionSpec{NonceHash: text}
		if _, err := s.Hash(); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
