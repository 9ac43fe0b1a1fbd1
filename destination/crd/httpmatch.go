package crd

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// validateMatch checks a match of HTTPRoute's in a kind of ours. In a route the Gateway API's own
// CustomResourceDefinition has checked it.
func validateMatch(path *field.Path, m *gatewayv1.HTTPRouteMatch) (errs field.ErrorList) {
	if m == nil {
		return nil
	}
	errs = validatePathMatch(path.Child("path"), m.Path)
	if m.Method != nil {
		errs = append(errs, validateMethod(path.Child("method"), string(*m.Method))...)
	}
	headers, query := path.Child("headers"), path.Child("queryParams")
	errs = append(errs, atMost(headers, len(m.Headers), MaxFieldMatches)...)
	for i, h := range m.Headers {
		kind := typeOf(h.Type)
		errs = append(errs, validateFieldMatch(headers.Index(i), string(h.Name), kind, h.Value)...)
	}
	errs = append(errs, atMost(query, len(m.QueryParams), MaxFieldMatches)...)
	for i, q := range m.QueryParams {
		kind := typeOf(q.Type)
		errs = append(errs, validateFieldMatch(query.Index(i), string(q.Name), kind, q.Value)...)
	}
	return errs
}

// typeOf is a type's name; of one that is left out, the default that matches on fields have.
func typeOf[T ~string](p *T) string {
	if p == nil {
		return string(gatewayv1.HeaderMatchExact)
	}
	return string(*p)
}

const regular = "RegularExpression" // a type of all three matches

func validatePathMatch(path *field.Path, m *gatewayv1.HTTPPathMatch) field.ErrorList {
	if m == nil {
		return nil
	}
	kind, value := string(gatewayv1.PathMatchPathPrefix), "/"
	if m.Type != nil {
		kind = string(*m.Type)
	}
	if m.Value != nil {
		value = *m.Value
	}
	types := []string{string(gatewayv1.PathMatchExact), string(gatewayv1.PathMatchPathPrefix),
		regular}
	switch {
	case !slices.Contains(types, kind):
		return field.ErrorList{field.NotSupported(path.Child("type"), kind, types)}
	case kind == regular:
		return validateRegex(path.Child("value"), value)
	case !strings.HasPrefix(value, "/"):
		return field.ErrorList{field.Invalid(path.Child("value"), value, "must begin with /")}
	case len(value) > maxPath:
		return field.ErrorList{field.TooLong(path.Child("value"), "", maxPath)}
	}
	return nil
}

func validateFieldMatch(path *field.Path, name, kind, value string) (errs field.ErrorList) {
	if !isToken(name) {
		errs = append(errs, field.Invalid(path.Child("name"), name, "must be a name"))
	}
	exact := string(gatewayv1.HeaderMatchExact)
	switch {
	case kind == regular:
		return append(errs, validateRegex(path.Child("value"), value)...)
	case kind != exact:
		return append(errs,
			field.NotSupported(path.Child("type"), kind, []string{exact, regular}))
	case len(value) > MaxFieldValue:
		return append(errs, field.TooLong(path.Child("value"), "", MaxFieldValue))
	}
	return errs
}
