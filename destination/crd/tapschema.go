package crd

import (
	"strings"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TapSessionCRD returns the CustomResourceDefinition of TapSession.
func TapSessionCRD() *apix.CustomResourceDefinition {
	return tapCRD(TapSessionKind, TapSessions, apix.NamespaceScoped,
		"Who may watch the requests of a namespace for an hour: whoever holds a nonce.")
}

// ClusterTapSessionCRD returns that of ClusterTapSession.
func ClusterTapSessionCRD() *apix.CustomResourceDefinition {
	return tapCRD(ClusterTapSessionKind, ClusterTapSessions, apix.ClusterScoped,
		"Who may watch the requests of all namespaces for an hour: whoever holds a nonce.")
}

func tapCRD(
	kind, plural string, scope apix.ResourceScope, what string,
) *apix.CustomResourceDefinition {
	root := object(what, props{
		"apiVersion": {Type: "string"}, "kind": {Type: "string"}, "metadata": {Type: "object"},
		"spec": tapSpecSchema(),
	}, "spec")
	return &apix.CustomResourceDefinition{
		TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1",
			Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: plural + "." + Group},
		Spec: apix.CustomResourceDefinitionSpec{
			Group: Group, Scope: scope,
			Names: apix.CustomResourceDefinitionNames{Kind: kind, ListKind: kind + "List",
				Plural: plural, Singular: strings.ToLower(kind)},
			Versions: []apix.CustomResourceDefinitionVersion{{
				Name: Version, Served: true, Storage: true,
				Schema: &apix.CustomResourceValidation{OpenAPIV3Schema: &root},
				AdditionalPrinterColumns: []apix.CustomResourceColumnDefinition{
					{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"},
				},
			}},
		},
	}
}

// tapSpecSchema: who may update a session could else make another's their own.
func tapSpecSchema() schemaProps {
	hash := text("SHA-256 of the nonce, in hexadecimal digits.", 64)
	hash.Pattern = "^[0-9a-f]{64}$"
	spec := object("", props{"nonceHash": hash}, "nonceHash")
	spec.XValidations = append(spec.XValidations,
		rule("self == oldSelf", "a session does not change: make another"))
	return spec
}
