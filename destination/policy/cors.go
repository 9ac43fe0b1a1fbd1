package policy

import (
	"fmt"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
)

// corsMaxAge is the Gateway API's default, in seconds.
const corsMaxAge = 5

func readCORS(in *gatewayv1.HTTPCORSFilter) (*api.CORS, error) {
	switch {
	case in == nil:
		return nil, unsupportedf("a filter CORS that says nothing")
	case in.MaxAge < 0:
		return nil, unsupportedf("CORS with maxAge %d", in.MaxAge)
	}
	out := &api.CORS{MaxAgeSeconds: corsMaxAge}
	if in.MaxAge > 0 {
		out.MaxAgeSeconds = uint32(in.MaxAge)
	}
	if in.AllowCredentials != nil {
		out.AllowCredentials = *in.AllowCredentials
	}
	for _, origin := range in.AllowOrigins {
		if err := api.CheckOrigin(string(origin)); err != nil {
			return nil, fmt.Errorf("CORS: %w", err)
		}
		out.AllowOrigins = append(out.AllowOrigins, string(origin))
	}
	var err error
	if out.AllowMethods, err = readTokens(in.AllowMethods); err != nil {
		return nil, err
	}
	if out.AllowHeaders, err = readTokens(in.AllowHeaders); err != nil {
		return nil, err
	}
	out.ExposeHeaders, err = readTokens(in.ExposeHeaders)
	return out, err
}

// readTokens takes methods or names of headers, or "*".
func readTokens[T ~string](in []T) (out []string, err error) {
	for _, one := range in {
		if !isToken(string(one)) {
			return nil, fmt.Errorf("CORS: %q is no method, nor the name of a header", one)
		}
		out = append(out, string(one))
	}
	return out, nil
}
