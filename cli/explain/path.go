package explain

import (
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// Request is what is explained. Without a method it is a connection that is carried unread.
type Request struct {
	Method     string   `json:"method,omitempty"`
	Path       string   `json:"path,omitempty"`
	Authority  string   `json:"authority,omitempty"`
	Headers    []Header `json:"headers,omitempty"`
	ServerName string   `json:"serverName,omitempty"` // of the application's own TLS
}

// Header is a field of the request's; its name is in lower case.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Path is the way of a request, step by step.
type Path struct {
	From    destination.Asker `json:"from"`
	To      string            `json:"to"`
	Request Request           `json:"request"`
	Steps   []Step            `json:"steps"`
}

// Step is one thing that is decided about a request.
type Step struct {
	Stage string   `json:"stage"`
	Says  string   `json:"says"`
	By    []Object `json:"by,omitempty"` // whose fields have decided it; none: the mesh's defaults
	Fails *Failure `json:"fails,omitempty"`
}

// Failure is why a request, or a share of such requests, does not go through.
type Failure struct {
	Reason string `json:"reason"`           // as docs/accesslog.md lists them
	Status int    `json:"status,omitempty"` // of HTTP
	// Share is of the requests, from 0 to 1.
	Share float64 `json:"share"`
	Next  string  `json:"next"` // what to do
}

// The stages, in the order in which a request comes to them.
const (
	StageCapture       = "capture"
	StageDiscovery     = "discovery"
	StageProtocol      = "protocol"
	StageRoute         = "route"
	StageFilters       = "filters"
	StageFaults        = "faults"
	StageTimeouts      = "timeouts"
	StageRetries       = "retries"
	StageBackend       = "backend"
	StageBalancer      = "balancer"
	StageLimits        = "limits"
	StageSecurity      = "mtls"
	StageAuthorization = "authorization"
	StageRateLimits    = "rate limits"
	StageConcurrency   = "concurrency"
)

// Object is a field of an object that somebody has written.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	Field     string `json:"field,omitempty"`
}

// String is "HTTPRoute shop/web, spec.rules[0]".
func (o Object) String() string {
	out := o.Kind + " " + strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")
	if o.Field != "" {
		out += ", " + o.Field
	}
	return out
}

// Failures are those of its steps that fail.
func (p *Path) Failures() (out []*Step) {
	for i := range p.Steps {
		if p.Steps[i].Fails != nil {
			out = append(out, &p.Steps[i])
		}
	}
	return out
}

// ruleOf is the rule that an origin names, or a field of it: of the two the first is what a
// ServiceProfile calls it.
func ruleOf(o *api.Origin, profile, route string) []Object {
	if o == nil {
		return nil
	}
	out := Object{Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
	rule, sub := o.Rule[strings.LastIndexByte(o.Rule, '/')+1:], route
	out.Field = "spec.rules[" + rule + "]"
	if o.Kind == crd.Kind {
		out.Field, sub = "spec.routes["+o.Rule+"]", profile
	} else if _, err := strconv.Atoi(rule); err != nil {
		out.Field = "spec.rules[name=" + rule + "]"
	}
	if sub != "" {
		out.Field += "." + sub
	}
	return []Object{out}
}
