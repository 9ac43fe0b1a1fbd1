package crd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"
)

// Document is one YAML document of a file. It keeps the file's name and lines, so that an error can
// say where.
//
// +kubebuilder:object:generate=false
type Document struct {
	File       string
	Line       int // of its first line with content, counted from 1
	APIVersion string
	Kind       string

	root *yaml.Node
	json []byte
}

// FileError is something wrong at a line of a file.
//
// +kubebuilder:object:generate=false
type FileError struct {
	File string
	Line int // 0: no line is known
	Err  error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// Documents takes a YAML (or JSON) file apart at its --- lines. Values mean what they mean to
// kubectl; empty documents are left out. A duplicate key is an error.
func Documents(file string, data []byte) ([]Document, error) {
	var docs []Document
	for _, part := range split(data) {
		doc, err := parsePart(file, part)
		if err != nil {
			return nil, err
		}
		if doc.root != nil {
			docs = append(docs, doc)
		}
	}
	return docs, nil
}

// part is the text of a document and how many lines of the file come before it.
type part struct {
	text   []byte
	before int
}

func split(data []byte) []part {
	var parts []part
	var current part
	lines := 0
	for line := range bytes.Lines(data) {
		if content, ok := afterSeparator(line); ok {
			parts = append(parts, current)
			current, line = part{before: lines}, content
		}
		current.text = append(current.text, line...)
		lines++
	}
	return append(parts, current)
}

// afterSeparator returns what follows three dashes on their line, in its column: a document may
// begin there.
func afterSeparator(line []byte) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	if !ok || (len(rest) > 0 && !bytes.ContainsAny(rest[:1], " \t\r\n")) {
		return nil, false
	}
	return append([]byte("   "), rest...), true
}

func parsePart(file string, p part) (Document, error) {
	var node yaml.Node
	if err := yaml.Unmarshal(p.text, &node); err != nil {
		return Document{}, syntaxErrorAfter(file, p.before, err)
	}
	if len(node.Content) == 0 || node.Content[0].Tag == "!!null" {
		return Document{}, nil
	}
	doc := Document{File: file, root: node.Content[0], Line: p.before + node.Content[0].Line}
	var err error
	if doc.json, err = kyaml.YAMLToJSONStrict(p.text); err != nil {
		return Document{}, syntaxErrorAfter(file, p.before, err)
	}
	shiftLines(doc.root, p.before, map[*yaml.Node]bool{})
	return doc, doc.readKind()
}

func (d *Document) readKind() error {
	var head struct{ APIVersion, Kind string }
	if err := json.Unmarshal(d.json, &head); err != nil {
		return &FileError{d.File, d.Line, errors.New(
			"a document must be an object with apiVersion and kind")}
	}
	if head.APIVersion == "" || head.Kind == "" {
		return &FileError{d.File, d.Line, errors.New("apiVersion and kind must be set")}
	}
	d.APIVersion, d.Kind = head.APIVersion, head.Kind
	return nil
}

// shiftLines makes lines of a document lines of its file. An alias shares its anchor's node, which
// moves only once.
func shiftLines(n *yaml.Node, by int, seen map[*yaml.Node]bool) {
	if n == nil || seen[n] {
		return
	}
	seen[n] = true
	n.Line += by
	for _, child := range n.Content {
		shiftLines(child, by, seen)
	}
	shiftLines(n.Alias, by, seen)
}

// SyntaxError is an error of a YAML library with the line that the library says only in its text.
func SyntaxError(file string, err error) *FileError { return syntaxErrorAfter(file, 0, err) }

// The YAML libraries say lines only in their text.
var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntaxErrorAfter is SyntaxError for a text that is not the first of its file.
func syntaxErrorAfter(file string, before int, err error) *FileError {
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\n", " "), "yaml: ")
	text = strings.TrimPrefix(text, "unmarshal errors: ")
	at := yamlLine.FindStringSubmatchIndex(text)
	if at == nil {
		return &FileError{file, 0, errors.New(text)}
	}
	line, convErr := strconv.Atoi(text[at[2]:at[3]])
	if convErr != nil {
		return &FileError{file, 0, errors.New(text)}
	}
	return &FileError{file, before + line, errors.New(strings.TrimSpace(text[at[1]:]))}
}

// Decode reads the document into a Kubernetes object and refuses fields that the object does not
// have.
func (d *Document) Decode(into any) error {
	strict, err := kjson.UnmarshalStrict(d.json, into)
	if err != nil {
		at := d.lineOf(pathInError(err))
		if strings.Contains(err.Error(), "cannot unmarshal number") &&
			strings.HasSuffix(err.Error(), "of type string") {
			err = fmt.Errorf("%w: put it in quotes", err)
		}
		return &FileError{d.File, at, err}
	}
	all := make([]error, 0, len(strict))
	for _, err := range strict {
		all = append(all, &FileError{d.File, d.lineOf(pathInError(err)), err})
	}
	return errors.Join(all...)
}

// ServiceProfile decodes the document as one, sets its defaults and validates it.
func (d *Document) ServiceProfile() (*ServiceProfile, error) {
	profile := &ServiceProfile{}
	if err := d.decodeOurs(Kind, profile); err != nil {
		return nil, err
	}
	return profile, nil
}

// BackendTrafficPolicy decodes the document as one, sets its defaults and validates it.
func (d *Document) BackendTrafficPolicy() (*BackendTrafficPolicy, error) {
	policy := &BackendTrafficPolicy{}
	if err := d.decodeOurs(BackendTrafficPolicyKind, policy); err != nil {
		return nil, err
	}
	return policy, nil
}

// RateLimitPolicy decodes the document as one, sets its defaults and validates it.
func (d *Document) RateLimitPolicy() (*RateLimitPolicy, error) {
	policy := &RateLimitPolicy{}
	if err := d.decodeOurs(RateLimitPolicyKind, policy); err != nil {
		return nil, err
	}
	return policy, nil
}

// FaultInjection decodes the document as one, sets its defaults and validates it.
func (d *Document) FaultInjection() (*FaultInjection, error) {
	fault := &FaultInjection{}
	if err := d.decodeOurs(FaultInjectionKind, fault); err != nil {
		return nil, err
	}
	return fault, nil
}

// TelemetryPolicy decodes the document as one, sets its defaults and validates it.
func (d *Document) TelemetryPolicy() (*TelemetryPolicy, error) {
	policy := &TelemetryPolicy{}
	if err := d.decodeOurs(TelemetryPolicyKind, policy); err != nil {
		return nil, err
	}
	return policy, nil
}

// ServiceLevelObjective decodes the document as one, sets its defaults and validates it.
func (d *Document) ServiceLevelObjective() (*ServiceLevelObjective, error) {
	objective := &ServiceLevelObjective{}
	if err := d.decodeOurs(ServiceLevelObjectiveKind, objective); err != nil {
		return nil, err
	}
	return objective, nil
}

// judged is an object of one of our kinds.
type judged interface {
	Default()
	Validate() field.ErrorList
}

func (d *Document) decodeOurs(kind string, into judged) error {
	if d.APIVersion != APIVersion {
		return &FileError{d.File, d.Line,
			fmt.Errorf("apiVersion of a %s must be %s, not %s", kind, APIVersion, d.APIVersion)}
	}
	if err := d.Decode(into); err != nil {
		return err
	}
	into.Default()
	return d.locate(into.Validate())
}

// locate gives each error the line of its field.
func (d *Document) locate(errs field.ErrorList) error {
	all := make([]error, 0, len(errs))
	for _, err := range errs {
		all = append(all, &FileError{d.File, d.lineOf(err.Field), err})
	}
	return errors.Join(all...)
}

var (
	// unknown field "spec.routes[0].timout", duplicate field "a.b"
	quotedPath = regexp.MustCompile(`field "([^"]+)"`)
	// json: cannot unmarshal number into Go struct field Route.spec.routes.timeout of type string
	dottedPath = regexp.MustCompile(`Go struct field [^. ]+\.(\S+) of type`)
)

func pathInError(err error) string {
	for _, expr := range []*regexp.Regexp{quotedPath, dottedPath} {
		if m := expr.FindStringSubmatch(err.Error()); m != nil {
			return m[1]
		}
	}
	return ""
}

var pathStep = regexp.MustCompile(`[^.\[\]]+`)

// lineOf follows a path such as spec.routes[2].timeout as far as the document has it.
func (d *Document) lineOf(path string) int {
	node, line := d.root, d.Line
	for _, step := range pathStep.FindAllString(path, -1) {
		next, at := child(node, step)
		if next == nil {
			return line
		}
		node, line = next, at
	}
	return line
}

func child(node *yaml.Node, step string) (value *yaml.Node, line int) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.SequenceNode {
		i, err := strconv.Atoi(step)
		if err != nil || i >= len(node.Content) {
			return nil, 0
		}
		return node.Content[i], node.Content[i].Line
	}
	if node.Kind != yaml.MappingNode {
		return nil, 0
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == step {
			return node.Content[i+1], node.Content[i].Line
		}
	}
	return nil, 0
}
