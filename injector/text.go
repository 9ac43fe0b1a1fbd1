package injector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

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
	// Place is where it begins, if it was left alone for what is not written there: "name:line".
	Place string
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
	for i := range reports {
		if reports[i].Place != "" {
			reports[i].Place = name + ":" + reports[i].Place
		}
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
	p := pass{do: func(s *splicer, d *document, r object) (Report, error) {
		return d.inject(s, c, r)
	}}
	out, err := p.over(text)
	if err != nil || len(out) == len(text) {
		return text, p.reports, err
	}
	// What was written is read back once: to see what it means, and to undo it.
	undo := pass{check: p.means, after: p.undone}
	undo.do = func(s *splicer, d *document, r object) (Report, error) {
		report, err := d.uninject(s, r)
		if err != nil {
			err = fmt.Errorf("the injected text could not be undone: %w", err)
		}
		return report, err
	}
	back, err := undo.over(p.back)
	if err != nil {
		return nil, nil, err
	}
	if err := p.asMany(&undo); err != nil {
		return nil, nil, err
	}
	if !bytes.Equal(back, text) {
		return nil, nil, lineError{differs(back, text), errNotUndone}
	}
	return out, p.reports, nil
}

func uninjectText(text []byte) ([]byte, []Report, error) {
	p := pass{do: func(s *splicer, d *document, r object) (Report, error) {
		return d.uninject(s, r)
	}}
	out, err := p.over(text)
	if err != nil || len(out) == len(text) {
		return text, p.reports, err
	}
	look := pass{check: p.means}
	if _, err = look.over(out); err == nil {
		err = p.asMany(&look)
	}
	return out, p.reports, err
}

// pass is what is done with all objects of a text. Each document is read by itself, and its nodes
// are not kept: of a large text they are many times as large.
type pass struct {
	check   func(i int, d *document) error // of each document, before anything is done with it
	do      func(*splicer, *document, object) (Report, error)
	after   func(i int, d *document) error
	reports []Report
	docs    []meant
	back    []byte // what an injected text is read back as
}

// meant is what a document means, and what it is to mean after a pass. Of a text that was written
// it is not kept: it has been compared already.
type meant struct {
	line      int
	was, want any
}

// over returns the text as the pass leaves it.
func (p *pass) over(text []byte) ([]byte, error) {
	s := newSplicer(text)
	err := p.read(text, func(d *document) error {
		i, m := len(p.docs), meant{line: d.root.Line}
		if p.check != nil {
			if err := p.check(i, d); err != nil {
				return err
			}
		}
		if err := p.each(s, d); err != nil {
			return err
		}
		if p.check == nil {
			m.was, m.want = d.was, d.want
		}
		p.docs = append(p.docs, m)
		if p.after == nil {
			return nil
		}
		return p.after(i, d)
	})
	if err != nil || len(s.edits) == 0 {
		return text, err
	}
	if len(s.back) > 0 {
		p.back = spliced(text, s.back)
	}
	return spliced(text, s.edits), nil
}

func (p *pass) each(s *splicer, d *document) error {
	if p.do == nil {
		return nil
	}
	for _, r := range d.objects {
		report, err := p.do(s, d, r)
		if err != nil {
			return err
		}
		p.reports = append(p.reports, report)
	}
	return nil
}

// read calls do for all documents of a text. Those that are no Kubernetes objects have none in
// them, and are never looked into.
func (p *pass) read(text []byte, do func(*document) error) error {
	if !utf8.Valid(text) {
		return lineError{badLine(text), errors.New("not UTF-8 text")}
	}
	dec, r := yaml.NewDecoder(bytes.NewReader(masked(text))), newReader()
	for {
		var node yaml.Node
		err := dec.Decode(&node)
		switch {
		case err != nil && err.Error() == "EOF":
			return nil
		case err != nil && p.check != nil:
			return fmt.Errorf("the text written would not parse: %w", err)
		case err != nil:
			e := crd.SyntaxError("", err)
			return lineError{max(e.Line, 1), e.Err}
		}
		doc, err := r.document(node.Content[0])
		if err == nil {
			err = do(&doc)
		}
		if err != nil {
			return err
		}
	}
}

// means compares a document of the text that was written with what it was to be: a text with an
// alias or a merge key can mean more than its place shows.
func (p *pass) means(i int, d *document) error {
	if i >= len(p.docs) {
		return errOtherDocuments
	}
	if !same(p.docs[i].want, d.was) {
		return lineError{p.docs[i].line, errOtherMeaning}
	}
	return nil
}

func (p *pass) asMany(again *pass) error {
	if len(p.docs) != len(again.docs) {
		return errOtherDocuments
	}
	return nil
}

// undone holds injection to its promise: what uninject has made of a document means what it did.
func (p *pass) undone(i int, d *document) error {
	if !same(p.docs[i].was, d.want) {
		return fmt.Errorf("the injected text could not be undone: %w",
			lineError{p.docs[i].line, errOtherMeaning})
	}
	return nil
}

var (
	errOtherDocuments = errors.New("the text written would have another number of documents")
	errOtherMeaning   = errors.New("this document cannot be changed as text without changing its " +
		"meaning elsewhere; write the pod template out, without aliases and merge keys")
	errNotUndone = errors.New("injection here could not be undone to the byte; write the pod " +
		"template in plain block style")
)

// masked is a JSON text in which the halves of characters beyond 16 bits, which JSON escapes one by
// one and YAML has no escapes for, are others of the same length: every place stays where it is,
// and what these characters are decides nothing. kubectl takes a text for JSON by its first byte.
func masked(text []byte) []byte {
	begin := bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	if !bytes.HasPrefix(begin, []byte("{")) || !bytes.Contains(begin, []byte(`\u`)) {
		return text
	}
	const replacement = `\ufffd`
	out := bytes.Clone(text)
	for i := 0; i+len(replacement) <= len(out); i++ {
		if out[i] != '\\' {
			continue
		}
		if half := out[i+1 : i+4]; half[0] == 'u' && half[1]|0x20 == 'd' &&
			bytes.IndexByte([]byte("89abcdefABCDEF"), half[2]) >= 0 {
			copy(out[i:], replacement)
		}
		i++ // what is escaped escapes nothing
	}
	return out
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
		if reason == NoPodSpec {
			report.Place = strconv.Itoa(r.node.Line)
		}
		return report, nil
	}
	at, err := r.template()
	if err != nil {
		return report, err
	}
	tree, err := s.add(at, change)
	if err != nil {
		return report, err
	}
	d.expect(r, s.memo.meaning(tree))
	return report, nil
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
	template := d.at(r.fullPath())
	if member(template, "spec") == nil {
		return Change{}, NoPodSpec, nil
	}
	var pod corev1.PodTemplateSpec
	text, err := json.Marshal(template)
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
	labels := member(member(object, "metadata"), "labels")
	label, _ := member(labels, names.AnnotationInject).(string)
	word, err := injection(label)
	switch {
	case err != nil:
		return Change{}, "", fmt.Errorf("label %w", err)
	case word == disabled:
		return Change{}, Disabled, nil
	case label == enabled:
		return Change{}, AlreadyEnabled, nil
	}
	return Change{
		Annotations: map[string]string{names.AnnotationInjected: c.Version},
		Labels:      map[string]string{names.AnnotationInject: enabled},
	}, "", nil
}

// expect notes what the document means once what was added has been merged into a resource: what
// Change.Apply makes of a typed pod.
func (d *document) expect(r object, added any) {
	d.want = replaced(d.want, r.fullPath(), func(template any) any {
		return merged(template, added)
	})
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
