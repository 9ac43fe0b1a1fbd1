package policy

import (
	"net/http"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// treatment is what the filters of a rule or of a backend say.
type treatment struct {
	filters    []*api.Filter
	mirrors    []Mirror
	extensions []string
}

// readFilters reads the filters of a rule or of a backend. Prefix is what the path of the requests
// begins with, "" if that is not known.
func (r *reader) readFilters(
	in []gatewayv1.HTTPRouteFilter, prefix string,
) (t treatment, wrong []error) {
	for i := range in {
		if err := r.addFilter(&t, &in[i], prefix); err != nil {
			wrong = append(wrong, err)
		}
	}
	if err := checkTogether(t.filters); err != nil {
		wrong = append(wrong, err)
	}
	return t, wrong
}

func (r *reader) addFilter(
	t *treatment, in *gatewayv1.HTTPRouteFilter, prefix string,
) error {
	switch in.Type {
	case gatewayv1.HTTPRouteFilterRequestMirror:
		return r.addMirror(t, in.RequestMirror)
	case gatewayv1.HTTPRouteFilterExtensionRef:
		return r.addExtension(t, in.ExtensionRef)
	}
	f, err := readFilter(in, prefix)
	if err == nil {
		t.filters = append(t.filters, f)
	}
	return err
}

// checkTogether refuses filters that say two things of one request's target, or of its answer.
func checkTogether(list []*api.Filter) error {
	redirects, rewrites, cors := 0, 0, 0
	for _, f := range list {
		switch {
		case f.GetRedirect() != nil:
			redirects++
		case f.GetRewrite() != nil:
			rewrites++
		case f.GetCors() != nil:
			cors++
		}
	}
	switch {
	case redirects > 1 || redirects > 0 && rewrites > 0:
		return crd.Problemf(crd.ReasonIncompatibleFilters,
			"RequestRedirect is alone: beside it is neither another nor URLRewrite")
	case cors > 1:
		return crd.Problemf(crd.ReasonIncompatibleFilters, "CORS is there more than once")
	}
	return nil
}

func readFilter(in *gatewayv1.HTTPRouteFilter, prefix string) (*api.Filter, error) {
	switch in.Type {
	case gatewayv1.HTTPRouteFilterRequestHeaderModifier:
		m, err := readModifier(in.RequestHeaderModifier)
		return &api.Filter{Filter: &api.Filter_RequestHeaders{RequestHeaders: m}}, err
	case gatewayv1.HTTPRouteFilterResponseHeaderModifier:
		m, err := readModifier(in.ResponseHeaderModifier)
		return &api.Filter{Filter: &api.Filter_ResponseHeaders{ResponseHeaders: m}}, err
	case gatewayv1.HTTPRouteFilterRequestRedirect:
		r, err := readRedirect(in.RequestRedirect, prefix)
		return &api.Filter{Filter: &api.Filter_Redirect{Redirect: r}}, err
	case gatewayv1.HTTPRouteFilterURLRewrite:
		r, err := readRewrite(in.URLRewrite, prefix)
		return &api.Filter{Filter: &api.Filter_Rewrite{Rewrite: r}}, err
	case gatewayv1.HTTPRouteFilterCORS:
		c, err := readCORS(in.CORS)
		return &api.Filter{Filter: &api.Filter_Cors{Cors: c}}, err
	}
	return nil, unsupportedf("filter %s", in.Type)
}

// redirects are the statuses that a redirect may have.
var redirects = []int{
	http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
	http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
}

func readRedirect(
	in *gatewayv1.HTTPRequestRedirectFilter, prefix string,
) (*api.Redirect, error) {
	if in == nil {
		return nil, unsupportedf("a redirect to nowhere")
	}
	out := &api.Redirect{Status: http.StatusFound}
	if in.StatusCode != nil {
		if !slices.Contains(redirects, *in.StatusCode) {
			return nil, unsupportedf("a redirect with status %d", *in.StatusCode)
		}
		out.Status = uint32(*in.StatusCode)
	}
	if in.Scheme != nil {
		if out.Scheme = *in.Scheme; out.Scheme != "http" && out.Scheme != "https" {
			return nil, unsupportedf("a redirect to scheme %s", out.Scheme)
		}
	}
	if out.Port = uint32(portOf(in.Port)); in.Port != nil && out.Port == 0 {
		return nil, unsupportedf("a redirect to port %d", *in.Port)
	}
	var err error
	if out.Host, err = readHost(in.Hostname); err != nil {
		return nil, err
	}
	out.Path, err = readPath(in.Path, prefix)
	return out, err
}

func readRewrite(in *gatewayv1.HTTPURLRewriteFilter, prefix string) (out *api.Rewrite, err error) {
	if in == nil {
		return nil, unsupportedf("a rewrite of nothing")
	}
	out = &api.Rewrite{}
	if out.Host, err = readHost(in.Hostname); err != nil {
		return nil, err
	}
	out.Path, err = readPath(in.Path, prefix)
	return out, err
}

func readHost(in *gatewayv1.PreciseHostname) (string, error) {
	if in == nil {
		return "", nil
	}
	return string(*in), api.CheckHost(string(*in))
}

func readPath(in *gatewayv1.HTTPPathModifier, prefix string) (*api.PathModifier, error) {
	switch {
	case in == nil:
		return nil, nil
	case in.Type == gatewayv1.FullPathHTTPPathModifier && in.ReplaceFullPath != nil:
		full := &api.PathModifier_Full{Full: *in.ReplaceFullPath}
		return &api.PathModifier{Modifier: full}, api.CheckPath(*in.ReplaceFullPath)
	case in.Type != gatewayv1.PrefixMatchHTTPPathModifier || in.ReplacePrefixMatch == nil:
		return nil, unsupportedf("a change of the path of type %s", in.Type)
	case prefix == "":
		return nil, crd.Problemf(crd.ReasonIncompatibleFilters,
			"ReplacePrefixMatch needs a match of type PathPrefix")
	}
	p := &api.PrefixModifier{Matched: prefix, Replacement: *in.ReplacePrefixMatch}
	err := api.CheckPath(p.Matched)
	if p.Replacement != "" && err == nil {
		err = api.CheckPath(p.Replacement)
	}
	return &api.PathModifier{Modifier: &api.PathModifier_Prefix{Prefix: p}}, err
}
