package injector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"go.yaml.in/yaml/v3"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
)

// Report is what became of one resource of a text.
type Report struct {
	Kind   string // lower case
	Name   string
	Reason Reason // why it was left alone; empty: it was changed
}

// lineError is a fault at a line of a text.
type lineError struct {
	line int
	err  error
}

func (e lineError) Error() string { return fmt.Sprintf("%d: %v", e.line, e.err) }
func (e lineError) Unwrap() error { return e.err }

func errAt(n *yaml.Node, format string, args ...any) error {
	return lineError{n.Line, fmt.Errorf(format, args...)}
}

// InjectText adds the proxy to every workload in a YAML or JSON text of any number of documents.
// Every byte of the input is in the output, in its order. The name is for errors: "name:line: ...".
func InjectText(c Config, name string, text []byte) ([]byte, []Report, error) {
	out, reports, err := injectText(c, text)
	if err != nil {
		return nil, nil, located(name, err)
	}
	if len(out) == len(text) {
		return out, reports, nil
	}
	back, _, err := uninjectText(out)
	if err != nil {
		return nil, nil, located(name, fmt.Errorf("the injected text could not be undone: %w", err))
	}
	if !bytes.Equal(back, text) {
		return nil, nil, located(
			name, lineError{differs(back, text),
				errors.New(
					"injection here could not be undone to the byte; write the pod template in " +
						"plain block style")})
	}
	return out, reports, nil
}

// UninjectText takes out what InjectText put in, and nothing else.
func UninjectText(name string, text []byte) ([]byte, []Report, error) {
	out, reports, err := uninjectText(text)
	if err != nil {
		return nil, nil, located(name, err)
	}
	return out, reports, nil
}

func located(name string, err error) error {
	var at lineError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%w", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// differs is the line at which two texts part.
func differs(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return 1 + bytes.Count(b[:n], []byte("\n"))
}

func injectText(c Config, text []byte) ([]byte, []Report, error) {
	docs, err := parseText(text)
	if err != nil {
		return nil, nil, err
	}
	s := newSplicer(text)
	var reports []Report
	for i := range docs {
		for _, r := range docs[i].objects {
			report, err := docs[i].inject(s, c, r)
			if err != nil {
				return nil, nil, err
			}
			reports = append(reports, report)
		}
	}
	out := s.apply()
	return out, reports, verify(docs, out)
}

func uninjectText(text []byte) ([]byte, []Report, error) {
	docs, err := parseText(text)
	if err != nil {
		return nil, nil, err
	}
	s := newSplicer(text)
	var reports []Report
	for i := range docs {
		for _, r := range docs[i].objects {
			report, err := docs[i].uninject(s, r)
			if err != nil {
				return nil, nil, err
			}
			reports = append(reports, report)
		}
	}
	out := s.apply()
	return out, reports, verify(docs, out)
}

// verify decodes the text that was written and compares it with what was to be: a text with an
// alias or a merge key can mean more than its place shows.
func verify(docs []document, out []byte) error {
	written, err := parseText(out)
	if err != nil {
		return fmt.Errorf("the text written would not parse: %w", err)
	}
	if len(written) != len(docs) {
		return errors.New("the text written would have another number of documents")
	}
	for i := range docs {
		if !reflect.DeepEqual(pruned(docs[i].want), pruned(written[i].want)) {
			return errAt(
				docs[i].root,
				"this document cannot be changed as text without changing its meaning elsewhere; "+
					"write the pod template out, without aliases and merge keys")
		}
	}
	return nil
}

// parseText reads all documents; those that are no Kubernetes objects have no resources and are
// never looked into.
func parseText(text []byte) ([]document, error) {
	if !utf8.Valid(text) {
		return nil, lineError{badLine(text), errors.New("not UTF-8 text")}
	}
	var docs []document
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		if err != nil && err.Error() == "EOF" {
			return docs, nil
		}
		if err != nil {
			e := crd.SyntaxError("", err)
			return nil, lineError{max(e.Line, 1), e.Err}
		}
		doc, err := newDocument(node.Content[0])
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
}

func badLine(text []byte) int {
	line := 1
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		text = text[n:]
	}
	return line
}

// inject plans the change of one resource, splices it into the text and notes what the document
// must mean afterwards.
func (d *document) inject(s *splicer, c Config, r object) (Report, error) {
	report := Report{Kind: strings.ToLower(r.kind), Name: r.name}
	change, reason, err := d.plan(c, r)
	if err != nil {
		return report, errAt(r.node, "%s %q: %w", report.Kind, r.name, err)
	}
	if report.Reason = reason; reason != "" {
		return report, nil
	}
	at, err := r.template()
	if err != nil {
		return report, err
	}
	records, err := s.add(at, change)
	if err != nil {
		return report, err
	}
	return report, d.expect(r, change, records)
}

// plan is Plan for what a text can hold, namespaces and other kinds included.
func (d *document) plan(c Config, r object) (Change, Reason, error) {
	if r.kind == "Namespace" {
		return planNamespace(c, d.at(r.path))
	}
	if r.templatePath == nil {
		return Change{}, NotWorkload, nil
	}
	if r.namespace == c.Namespace {
		return Change{}, ControlPlane, nil
	}
	var pod corev1.PodTemplateSpec
	text, err := json.Marshal(d.at(r.fullPath()))
	if err != nil {
		return Change{}, "", err
	}
	if err := json.Unmarshal(text, &pod); err != nil {
		return Change{}, "", fmt.Errorf("read pod template: %w", err)
	}
	return Plan(c, pod, nil)
}

// planNamespace opts a namespace in. The API server selects namespaces for webhooks by label, so it
// is a label.
func planNamespace(c Config, object any) (Change, Reason, error) {
	switch member(member(member(object, "metadata"), "labels"), names.AnnotationInject) {
	case disabled:
		return Change{}, Disabled, nil
	case enabled:
		return Change{}, AlreadyEnabled, nil
	}
	return Change{
		Annotations: map[string]string{names.AnnotationInjected: c.Version},
		Labels:      map[string]string{names.AnnotationInject: enabled},
	}, "", nil
}

// expect applies the change to the document's meaning, by the webhook's own patch.
func (d *document) expect(r object, c Change, records []string) error {
	tree, _ := d.at(r.fullPath()).(map[string]any)
	if tree["metadata"] == nil {
		tree["metadata"] = map[string]any{}
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	var pod corev1.PodTemplateSpec
	if err := json.Unmarshal(text, &pod); err != nil {
		return err
	}
	ops, err := marshalPatch(c.withRecords(records).Patch(pod))
	if err != nil {
		return err
	}
	patch, err := jsonpatch.DecodePatch(ops)
	if err != nil {
		return fmt.Errorf("read JSON patch: %w", err)
	}
	if text, err = patch.Apply(text); err != nil {
		return fmt.Errorf("apply JSON patch: %w", err)
	}
	clear(tree)
	return json.Unmarshal(text, &tree)
}

// uninject takes our additions out of one resource.
func (d *document) uninject(s *splicer, r object) (Report, error) {
	report := Report{Kind: strings.ToLower(r.kind), Name: r.name}
	if r.kind != "Namespace" && r.templatePath == nil {
		report.Reason = NotWorkload
		return report, nil
	}
	tree, _ := d.at(r.fullPath()).(map[string]any)
	if !injected(tree) {
		report.Reason = NotInjected
		return report, nil
	}
	at, err := r.template()
	if err != nil {
		return report, err
	}
	rec := readRecords(tree)
	s.remove(at, rec, r.kind == "Namespace")
	strip(tree, r.kind == "Namespace")
	return report, s.err
}

// NotInjected is uninject's reason.
const NotInjected Reason = "not injected"

func injected(tree map[string]any) bool {
	if member(member(member(tree, "metadata"), "annotations"), names.AnnotationInjected) != nil {
		return true
	}
	list, _ := member(member(tree, "spec"), "initContainers").([]any)
	for _, item := range list {
		if member(item, "name") == names.ProxyContainer {
			return true
		}
	}
	return false
}
