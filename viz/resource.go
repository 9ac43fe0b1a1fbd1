package viz

import (
	"errors"
	"fmt"
	"strings"
)

// errQuery marks questions that make no sense: the asker's fault.
var errQuery = errors.New("bad query")

// kinds are the kinds of resource that can be asked for, by each name that kubectl takes.
var kinds = map[string]string{
	"ns": "namespace", "namespace": "namespace", "namespaces": "namespace",
	"svc": "service", "service": "service", "services": "service",
	"po": "pod", "pod": "pod", "pods": "pod",
	"deploy": "deployment", "deployment": "deployment", "deployments": "deployment",
	"sts": "statefulset", "statefulset": "statefulset", "statefulsets": "statefulset",
	"ds": "daemonset", "daemonset": "daemonset", "daemonsets": "daemonset",
	"rs": "replicaset", "replicaset": "replicaset", "replicasets": "replicaset",
	"job": "job", "jobs": "job",
	"cj": "cronjob", "cronjob": "cronjob", "cronjobs": "cronjob",
	// How the other end of a connection is known where it has no proxy here.
	"sa": "serviceaccount", "serviceaccount": "serviceaccount", "address": "address",
}

// resource is a kind, and perhaps one name of it: "deploy/web". An empty kind is anything.
type resource struct {
	kind, name, namespace string
}

// ParseResource checks a resource as a user writes it, and gives its kind in full.
func ParseResource(text string) (kind, name string, err error) {
	short, name, named := strings.Cut(text, "/")
	kind, ok := kinds[strings.ToLower(short)]
	if !ok {
		return "", "", fmt.Errorf(
			"%w: %q is no kind of resource: use ns, deploy, sts, ds, job, cronjob, rs, svc or pod",
			errQuery, short)
	}
	if named && (name == "" || strings.Contains(name, "/")) {
		return "", "", fmt.Errorf("%w: %q is no resource: write KIND or KIND/NAME", errQuery, text)
	}
	return kind, name, nil
}

func parseResource(text, namespace string) (resource, error) {
	if text == "" {
		return resource{namespace: namespace}, nil
	}
	kind, name, err := ParseResource(text)
	return resource{kind, name, namespace}, err
}

// key names one resource in an answer.
type key struct {
	namespace, kind, name string
}

func (r resource) any() bool { return r == resource{} }

func (r resource) has(k key) bool {
	if r.kind != "" && k.kind != r.kind {
		return false
	}
	if r.name != "" && k.name != r.name {
		return false
	}
	return r.namespace == "" || k.namespace == r.namespace
}

// of is what a workload is as a resource of a kind: itself, its pod or its namespace.
func (w workload) of(kind string) (key, bool) {
	switch kind {
	case "namespace":
		return key{w.namespace, kind, w.namespace}, w.namespace != ""
	case "pod":
		return key{w.namespace, kind, w.pod}, w.pod != ""
	}
	return key{w.namespace, w.kind, w.name}, w.name != "" && (kind == "" || kind == w.kind)
}

// source is who sends a series' requests, as a resource of a kind. Of inbound callers only their ID
// or address is known.
func (s *series) source(kind string) (key, bool) {
	if s.labels.outbound() {
		return s.process.workload.of(kind)
	}
	k := s.caller()
	return k, kind == "" || kind == k.kind
}

// destination is who gets a series' requests, as a resource of a kind.
func (s *series) destination(kind string) (key, bool) {
	l := s.labels
	if l.inbound() {
		return s.process.workload.of(kind)
	}
	switch kind {
	case "service":
		return key{l.namespace, kind, l.service}, l.service != ""
	case "address":
		return s.target(), l.service == "" && l.authority != ""
	case "namespace":
		ns := l.namespace
		if ns == "" {
			ns = l.peer.namespace
		}
		return key{ns, kind, ns}, ns != ""
	}
	return l.peer.of(kind)
}

func (s *series) from(r resource) bool {
	if r.any() {
		return true
	}
	k, ok := s.source(r.kind)
	return ok && r.has(k)
}

func (s *series) to(r resource) bool {
	if r.any() {
		return true
	}
	k, ok := s.destination(r.kind)
	return ok && r.has(k)
}
