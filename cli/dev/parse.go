package dev

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/destination/consul"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
)

// Bounds of a mesh.yaml: one machine runs it, two processes for every instance.
const (
	maxMeshBytes = 1 << 20
	maxServices  = 100
	maxReplicas  = 20
)

// Load reads a mesh.yaml strictly: whatever it does not understand is an error that names the line.
func Load(path string) (*Mesh, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	f, err := os.Open(abs)
	if err != nil {
		return nil, fmt.Errorf("read the mesh: %w (name another file with -f)", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxMeshBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(text) > maxMeshBytes {
		return nil, fmt.Errorf("read %s: longer than %d bytes: this is no mesh.yaml", path,
			maxMeshBytes)
	}
	return parseMesh(path, filepath.Dir(abs), text)
}

// parseMesh turns a mesh.yaml's text into a Mesh; path is only for messages.
func parseMesh(path, dir string, text []byte) (*Mesh, error) {
	root, err := rootOf(path, text)
	if err != nil {
		return nil, err
	}
	p := &parser{path: path, mesh: &Mesh{Dir: dir, Namespace: "default"}}
	p.fields(root, "", map[string]func(*yaml.Node){
		"namespace": func(n *yaml.Node) { p.mesh.Namespace = p.label(n, "namespace") },
		"services":  p.services,
		"profiles":  p.profiles,
		"consul":    p.consul,
		"tracing":   p.tracing,
		"try": func(n *yaml.Node) {
			for _, item := range p.list(n, "try") {
				p.mesh.Try = append(p.mesh.Try, p.text(item, "try"))
			}
		},
	})
	if len(p.mesh.Services) == 0 {
		p.fail(root, "no services: name at least one under 'services'")
	}
	p.checkCalls()
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.mesh, nil
}

// rootOf is the root of a file with exactly one YAML document.
func rootOf(path string, text []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, fmt.Errorf(
			"%s:1: empty: see 'meshctl dev up --help' for what a mesh.yaml holds", path)
	} else if err != nil {
		return nil, notYAML(path, err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, fmt.Errorf(
			"%s:%d: a second document: a mesh.yaml has one; ServiceProfiles go into the folder "+
				"that 'profiles' names", path, more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, notYAML(path, err)
	}
	return doc.Content[0], nil
}

func notYAML(path string, err error) error {
	e := crd.SyntaxError(path, err)
	return &crd.FileError{File: path, Line: max(e.Line, 1), Err: fmt.Errorf("not YAML: %w", e.Err)}
}

// parser collects every error of a file, so that one run shows them all.
type parser struct {
	path  string
	mesh  *Mesh
	calls []call
	lines map[string]int // where a service or variant was named first
	errs  []*crd.FileError
}

// call is one entry of a service's calls, looked up once all services are known.
type call struct {
	node   *yaml.Node
	caller int
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	p.errs = append(
		p.errs, &crd.FileError{File: p.path, Line: n.Line, Err: fmt.Errorf(format, args...)})
}

// err is everything that is wrong, in the file's order.
func (p *parser) err() error {
	slices.SortStableFunc(p.errs, func(a, b *crd.FileError) int {
		return cmp.Compare(a.Line, b.Line)
	})
	var all []error
	for _, e := range p.errs {
		all = append(all, e)
	}
	return errors.Join(all...)
}

func (p *parser) services(n *yaml.Node) {
	p.lines = map[string]int{}
	p.each(n, "services", func(key, value *yaml.Node) {
		p.service(key, value)
	})
	if len(p.mesh.Services) > maxServices {
		p.fail(n, "%d services: one machine runs at most %d", len(p.mesh.Services), maxServices)
	}
}

func (p *parser) service(key, n *yaml.Node) {
	s := Service{Name: key.Value, Workload: Workload{Name: key.Value, Replicas: 1}}
	p.name(key, s.Name)
	index := len(p.mesh.Services)
	what := "service " + key.Value
	known := p.workloadFields(&s.Workload, what)
	known["meshed"] = func(v *yaml.Node) { s.Unmeshed = !p.boolean(v, what+": meshed") }
	known["appProtocol"] = func(v *yaml.Node) { s.Protocol = p.text(v, what+": appProtocol") }
	known["logLevel"] = func(v *yaml.Node) {
		s.tell(names.AnnotationLogLevel, p.word(v, what+": logLevel",
			"debug", "info", "warn", "error"))
	}
	known["accessLog"] = func(v *yaml.Node) {
		s.tell(names.AnnotationAccessLog, p.word(v, what+": accessLog", "none", "json", "text"))
	}
	known["check"] = func(v *yaml.Node) { s.Check = p.check(v, s.Name, what+": check") }
	known["variants"] = func(v *yaml.Node) { s.Variants = p.variants(v, key.Value) }
	known["calls"] = func(v *yaml.Node) {
		for _, item := range p.list(v, what+": calls") {
			p.calls = append(p.calls, call{item, index})
		}
	}
	seen := p.fields(n, what, known)
	if s.Unmeshed {
		p.onlyMeshed(n, seen, what)
		if s.Check != nil && s.Check.Exec == nil {
			p.fail(n, "%s: is not meshed, so nobody is beside it to check it but by exec", what)
		}
	}
	p.mesh.Services = append(p.mesh.Services, s)
	if seen["variants"] {
		p.onlyVariants(n, seen, what)
		return
	}
	p.checkWorkload(n, &s.Workload, seen, what)
}

// onlyMeshed refuses what is for a service's proxies where there are none.
func (p *parser) onlyMeshed(n *yaml.Node, seen map[string]bool, what string) {
	for _, field := range []string{"logLevel", "accessLog"} {
		if seen[field] {
			p.fail(n, "%s: is not meshed, so %q has no meaning", what, field)
		}
	}
}

// onlyVariants refuses beside variants what belongs inside each of them.
func (p *parser) onlyVariants(n *yaml.Node, seen map[string]bool, what string) {
	for _, field := range []string{"command", "address", "port", "replicas", "env"} {
		if seen[field] {
			p.fail(n, "%s: has variants, so %q belongs inside each of them", what, field)
		}
	}
}

func (p *parser) variants(n *yaml.Node, service string) []Workload {
	var out []Workload
	p.each(n, "service "+service+": variants", func(key, value *yaml.Node) {
		w := Workload{Name: service + "-" + key.Value, Replicas: 1}
		what := "variant " + w.Name
		p.name(key, w.Name)
		seen := p.fields(value, what, p.workloadFields(&w, what))
		p.checkWorkload(value, &w, seen, what)
		out = append(out, w)
	})
	if len(out) == 0 && n.Kind == yaml.MappingNode {
		p.fail(n, "service %s: variants: none given", service)
	}
	return out
}

// name claims a name: services and variants share one space, as their Kubernetes Services do.
func (p *parser) name(n *yaml.Node, name string) {
	if line, taken := p.lines[name]; taken {
		p.fail(n, "the name %q is taken by line %d", name, line)
		return
	}
	if errs := validation.IsDNS1035Label(name); len(errs) > 0 {
		p.fail(n, "%q is no name for a service: %s", name, errs[0])
	}
	p.lines[name] = n.Line
}

func (p *parser) workloadFields(w *Workload, what string) map[string]func(*yaml.Node) {
	return map[string]func(*yaml.Node){
		"command":  func(n *yaml.Node) { w.Command = p.command(n, what+": command") },
		"address":  func(n *yaml.Node) { w.Address = p.address(n, what+": address") },
		"port":     func(n *yaml.Node) { w.Port = p.number(n, what+": port", 65535) },
		"replicas": func(n *yaml.Node) { w.Replicas = p.number(n, what+": replicas", maxReplicas) },
		"env":      func(n *yaml.Node) { w.Env = p.env(n, what+": env") },
	}
}

func (p *parser) checkWorkload(n *yaml.Node, w *Workload, seen map[string]bool, what string) {
	switch {
	case seen["command"] && seen["address"]:
		p.fail(
			n,
			"%s: has a command and an address: give the command to start it, or the address "+
				"where it runs already", what)
	case !seen["command"] && !seen["address"]:
		p.fail(n, "%s: needs a command, or the address where it runs already", what)
	}
	if seen["address"] {
		for _, field := range []string{"port", "replicas", "env"} {
			if seen[field] {
				p.fail(n, "%s: %q has no meaning beside an address", what, field)
			}
		}
	}
	if w.Port > 0 && w.Replicas > 1 {
		p.fail(
			n, "%s: %d replicas cannot all listen on port %d: leave 'port' out and listen on $PORT",
			what, w.Replicas, w.Port)
	}
}

// consul is where a catalog is whose services can be called too.
func (p *parser) consul(n *yaml.Node) {
	seen := p.fields(n, "consul", map[string]func(*yaml.Node){
		"address": func(v *yaml.Node) {
			p.mesh.Consul = p.text(v, "consul: address")
			_, err := consul.New(consul.Config{Address: p.mesh.Consul})
			if p.mesh.Consul != "" && err != nil {
				p.fail(v, "consul: %v", err)
			}
		},
	})
	if n.Kind == yaml.MappingNode && !seen["address"] {
		p.fail(n, "consul: needs an address")
	}
}

// checkConsulCall is for a callee that is not in this file.
func (p *parser) checkConsulCall(n *yaml.Node, s *Service, callee string) {
	switch {
	case p.mesh.Consul == "":
		p.fail(n, "service %s calls %q: say where Consul is: 'consul: {address: URL}'", s.Name,
			callee)
	case s.Unmeshed:
		p.fail(n, "service %s calls %q and is not meshed: its proxy would find it", s.Name, callee)
	case len(validation.IsDNS1123Subdomain(callee)) > 0:
		p.fail(n, "service %s calls %q, which is no DNS name", s.Name, callee)
	}
}

// profiles takes one path or a list of them.
func (p *parser) profiles(n *yaml.Node) {
	n = resolved(n)
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	for _, item := range items {
		path := p.text(item, "profiles")
		if path == "" {
			continue
		}
		if !filepath.IsAbs(path) {
			path = filepath.Join(p.mesh.Dir, path)
		}
		if info, err := os.Stat(path); err != nil {
			p.fail(item, "profiles: %v", err)
		} else if !info.IsDir() {
			p.fail(item, "profiles: %s is no folder: name the folder that holds it", item.Value)
		}
		p.mesh.Profiles = append(p.mesh.Profiles, path)
	}
}

func (p *parser) checkCalls() {
	for _, c := range p.calls {
		callee := p.text(c.node, "calls")
		if callee == "" {
			continue
		}
		s := &p.mesh.Services[c.caller]
		if _, known := p.lines[callee]; inConsul(callee) {
			p.checkConsulCall(c.node, s, callee)
		} else if !known {
			p.fail(c.node, "service %s calls %q, which is no service here", s.Name, callee)
		}
		for _, other := range s.Calls {
			if other == callee {
				p.fail(c.node, "service %s calls %q twice", s.Name, callee)
			}
		}
		p.checkEnvAgainst(c.node, s, urlVariable(callee))
		s.Calls = append(s.Calls, callee)
	}
}

// checkEnvAgainst refuses an env that would hide what Up says to the process.
func (p *parser) checkEnvAgainst(n *yaml.Node, s *Service, variable string) {
	for _, w := range s.workloads() {
		if _, hidden := w.Env[variable]; hidden {
			p.fail(n, "service %s: env sets %s, which 'calls' sets too", s.Name, variable)
		}
	}
}

// urlVariable is the variable that tells a process where a service is: CHECKOUT_URL.
func urlVariable(service string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(service)) + "_URL"
}
