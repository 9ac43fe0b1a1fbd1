package crd

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
)

// kubectl apply keeps the object in an annotation, which holds 256 KiB.
func TestCRDFitsAnAnnotation(t *testing.T) {
	data, err := json.Marshal(CRD())
	if err != nil || len(data) > 200<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// Every field that the Go types have is in the schema, and no other: pruning would drop what is
// missing.
func TestSchemaHasTheFieldsOfTheTypes(t *testing.T) {
	root := CRD().Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
	sameFields(t, "spec", reflect.TypeFor[ServiceProfileSpec](), root["spec"], 0)
	sameFields(t, "status", reflect.TypeFor[ServiceProfileStatus](), root["status"], 0)
}

func sameFields(t *testing.T, path string, typ reflect.Type, schema schemaProps, depth int) {
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if typ.Kind() == reflect.Slice {
		sameFields(t, path+"[]", typ.Elem(), *schema.Items.Schema, depth)
		return
	}
	if typ.Kind() != reflect.Struct || schema.XIntOrString || schema.Type == "string" || depth > 3 {
		return
	}
	names := map[string]bool{}
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names[name] = true
		below, ok := schema.Properties[name]
		if !ok {
			t.Errorf("%s.%s is not in the schema", path, name)
			continue
		}
		sameFields(t, path+"."+name, f.Type, below, depth+1)
	}
	for name := range schema.Properties {
		if !names[name] {
			t.Errorf("%s.%s is not in the types", path, name)
		}
	}
}

var _ runtime.Object = (*ServiceProfileList)(nil)
