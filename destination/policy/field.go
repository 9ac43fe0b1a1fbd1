package policy

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/names"
)

func readModifier(in *gatewayv1.HTTPHeaderFilter) (*api.HeaderModifier, error) {
	if in == nil {
		return nil, unsupportedf("a header modifier that modifies nothing")
	}
	out := &api.HeaderModifier{Remove: in.Remove}
	for _, name := range in.Remove {
		if err := checkField(name, ""); err != nil {
			return nil, err
		}
	}
	var err error
	if out.Set, err = readFields(in.Set); err != nil {
		return nil, err
	}
	out.Add, err = readFields(in.Add)
	return out, err
}

func readFields(in []gatewayv1.HTTPHeader) (out []*api.Header, err error) {
	for _, h := range in {
		if err := checkField(string(h.Name), h.Value); err != nil {
			return nil, err
		}
		out = append(out, &api.Header{Name: string(h.Name), Value: h.Value})
	}
	return out, nil
}

// fixed are the fields that frame a message, belong to one connection, say where a request goes, or
// who sends it. Proxies refuse to change them, and with them the whole of what a service is told.
var fixed = []string{
	"connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding",
	"upgrade", "http2-settings", "content-length", "host", "x-forwarded-client-cert",
}

// reserved begins the names of the mesh's own fields.
const reserved = names.Mesh + "-"

// checkField refuses what proxies refuse.
func checkField(name, value string) error {
	// CGI shows an application no difference between the two
	dashed := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch {
	case !isToken(name):
		return fmt.Errorf("%q is not the name of a header", name)
	case slices.Contains(fixed, dashed) || strings.HasPrefix(dashed, reserved):
		return unsupportedf("to change header %s", name)
	case !isFieldValue(value):
		return fmt.Errorf("the value of header %s is not one that HTTP allows", name)
	}
	return nil
}

// isToken: RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		alphanumeric := 'a' <= c && c <= 'z' || '0' <= s[i] && s[i] <= '9'
		if !alphanumeric && !strings.Contains("!#$%&'*+-.^_`|~", s[i:i+1]) {
			return false
		}
	}
	return s != ""
}

// isFieldValue: RFC 9110, 5.5.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == strings.Trim(s, " \t")
}
