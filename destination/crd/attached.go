package crd

import (
	"cmp"
	"fmt"
	"strings"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// attachedKind is a kind of policy that is attached to Services by reference, as GEP-713 has it.
type attachedKind struct {
	kind, plural, short string
	inherits            string // whether what is attached to more counts for less: GEP-713's word
	what                string // the kind is about
	spec                schemaProps
	columns             []apix.CustomResourceColumnDefinition // its own
	// target is the path of what it is about; empty: of targetRefs.
	target string
	// watched is a kind that no proxy is told of, so that none has it.
	watched bool
}

func (k attachedKind) definition() *apix.CustomResourceDefinition {
	return &apix.CustomResourceDefinition{
		TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1",
			Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{
			Name: k.plural + "." + Group,
			// by which tools find what policies there are
			Labels: map[string]string{gatewayv1.PolicyLabelKey: k.inherits},
		},
		Spec: apix.CustomResourceDefinitionSpec{
			Group: Group,
			Scope: apix.NamespaceScoped,
			Names: apix.CustomResourceDefinitionNames{
				Kind: k.kind, ListKind: k.kind + "List", Plural: k.plural,
				Singular: strings.ToLower(k.kind), ShortNames: []string{k.short},
			},
			Versions: []apix.CustomResourceDefinitionVersion{k.version()},
		},
	}
}

func (k attachedKind) version() apix.CustomResourceDefinitionVersion {
	root := object(k.what, props{
		"apiVersion": {Type: "string"},
		"kind":       {Type: "string"},
		"metadata":   {Type: "object"},
		"spec":       k.spec,
		"status":     ancestorsSchema(),
	}, "spec")
	return apix.CustomResourceDefinitionVersion{
		Name: Version, Served: true, Storage: true,
		Schema: &apix.CustomResourceValidation{OpenAPIV3Schema: &root},
		Subresources: &apix.CustomResourceSubresources{
			Status: &apix.CustomResourceSubresourceStatus{},
		},
		AdditionalPrinterColumns: k.allColumns(),
	}
}

func (k attachedKind) allColumns() []apix.CustomResourceColumnDefinition {
	const condition = `.status.ancestors[*].conditions[?(@.type=="%s")].status`
	target := cmp.Or(k.target, ".spec.targetRefs[*].name")
	out := []apix.CustomResourceColumnDefinition{
		{Name: "Target", Type: "string", JSONPath: target},
	}
	out = append(append(out, k.columns...), apix.CustomResourceColumnDefinition{Name: "Accepted",
		Type: "string", JSONPath: fmt.Sprintf(condition, "Accepted")})
	if !k.watched {
		out = append(out, apix.CustomResourceColumnDefinition{Name: "Programmed", Type: "string",
			JSONPath: fmt.Sprintf(condition, "Programmed")})
	}
	return append(out, apix.CustomResourceColumnDefinition{Name: "Age", Type: "date",
		JSONPath: ".metadata.creationTimestamp"})
}
