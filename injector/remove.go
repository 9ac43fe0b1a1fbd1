package injector

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tulle-mesh/tulle/identity/names"
)

// records is the annotation that InjectText left: path to what stood there before, "" where nothing
// did.
type records map[string]string

func readRecords(tree map[string]any) records {
	r := records{}
	text, _ := member(member(member(tree, "metadata"), "annotations"), annotationKeys).(string)
	for _, field := range strings.Split(text, ",") {
		if field == "" {
			continue
		}
		path, literal, _ := strings.Cut(field, "=")
		r[path] = literal
	}
	return r
}

// created says whether we made the key at a path, or one above it.
func (r records) created(path string) bool {
	for {
		if literal, ok := r[path]; ok && literal == "" {
			return true
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return false
		}
		path = path[:i]
	}
}

// cut is what goes of a collection.
type cut struct {
	at   location
	gone []int // indexes of entries or items
	kids []cut // collections that stay, but lose something
	size int   // entries or items there are
}

func (c cut) all() bool { return c.size > 0 && len(c.gone) == c.size }

// remove edits our additions out of a pod template.
func (s *splicer) remove(at location, rec records, namespace bool) {
	r := remover{s: s, records: rec, namespace: namespace}
	r.apply(r.plan(at))
}

type remover struct {
	s         *splicer
	records   records
	namespace bool
}

func (r remover) plan(at location) cut {
	c := cut{at: at}
	if at.value.Kind == yaml.SequenceNode {
		c.size = len(at.value.Content)
		for i, item := range at.value.Content {
			if oursByName(at.path, scalar(lookup(item, "name"))) {
				c.gone = append(c.gone, i)
			}
		}
		return c
	}
	c.size = len(at.value.Content) / 2
	for i := range c.size {
		r.planEntry(&c, i)
	}
	return c
}

func (r remover) planEntry(c *cut, i int) {
	key, value := c.at.value.Content[2*i], c.at.value.Content[2*i+1]
	path := c.at.sub(key.Value)
	switch {
	case r.ours(c.at.path, key.Value):
		c.gone = append(c.gone, i)
	case value.Kind == yaml.MappingNode && (path == "metadata" || path == "spec" && !r.namespace ||
		path == "metadata.annotations" || path == "metadata.labels"),
		value.Kind == yaml.SequenceNode && (path == "spec.initContainers" ||
			path == "spec.volumes"):
		kid := r.plan(location{key, value, path})
		if kid.all() && r.records.created(path) {
			c.gone = append(c.gone, i)
			return
		}
		c.kids = append(c.kids, kid)
	}
}

func (r remover) ours(parent, key string) bool {
	return ours(parent, key, r.namespace)
}

// ours names the entries that injection makes.
func ours(parent, key string, namespace bool) bool {
	switch parent {
	case "metadata.annotations":
		return key == names.AnnotationInjected || key == annotationKeys
	case "metadata.labels":
		return key == names.LabelMesh || namespace && key == names.AnnotationInject
	}
	return false
}

func oursByName(list, name string) bool {
	switch list {
	case "spec.initContainers":
		return slices.Contains(containerNames, name)
	case "spec.volumes":
		return slices.Contains(volumeNames, name)
	}
	return false
}

func (r remover) apply(c cut) {
	literal := r.records[c.at.path]
	switch {
	case literal != "" && r.onlyOurs(c, literal):
		from := r.s.offset(c.at.value)
		r.s.replace(from, r.s.flowEnd(r.s.open(c.at.value)), literal)
		return
	case len(c.gone) == 0:
	case c.at.value.Style&yaml.FlowStyle != 0:
		r.flow(c)
	default:
		r.block(c)
	}
	for _, kid := range c.kids {
		r.apply(kid)
	}
}

// onlyOurs says whether what we put in a literal's place holds our entries, the alias that it was,
// and nothing that was added since.
func (r remover) onlyOurs(c cut, literal string) bool {
	if c.at.value.Style&yaml.FlowStyle == 0 {
		return false
	}
	rest := c.size - len(c.gone)
	return rest == 0 || rest == 1 && literal[0] == '*' && c.at.value.Kind == yaml.MappingNode &&
		c.at.value.Content[0].Value == "<<"
}

// block takes whole lines out; neighbours go together, or the line break before the first would
// stay at the end of a text.
func (r remover) block(c cut) {
	for k := 0; k < len(c.gone); k++ {
		first, last := r.lines(c, c.gone[k])
		for k+1 < len(c.gone) {
			from, to := r.lines(c, c.gone[k+1])
			if from != last+1 {
				break
			}
			k, last = k+1, to
		}
		r.s.deleteLines(first, last)
	}
}

// lines are the first and the last line of an entry or item.
func (r remover) lines(c cut, i int) (first, last int) {
	if c.at.value.Kind == yaml.SequenceNode {
		return r.s.lineOf(r.s.dash(c.start(i))), lastLine(c.end(i))
	}
	if !r.s.startsLine(c.start(i)) {
		r.s.fail(
			errAt(c.start(i), "%s shares its line with something else: put it on a line of its own",
				c.start(i).Value))
	}
	return c.start(i).Line, lastLine(c.end(i))
}

// flow takes entries out of {...} or [...] with the comma that came with them.
func (r remover) flow(c cut) {
	for k := 0; k < len(c.gone); k++ {
		first := c.gone[k]
		for k+1 < len(c.gone) && c.gone[k+1] == c.gone[k]+1 {
			k++
		}
		last := c.gone[k]
		from := r.s.offset(c.start(first))
		switch {
		case last+1 < c.size:
			r.s.replace(from, r.s.offset(c.start(last+1)), "")
		case first > 0:
			r.s.replace(r.s.commaBefore(from), r.s.flowEnd(r.s.offset(c.end(last))), "")
		default:
			r.s.replace(from, r.s.flowEnd(r.s.offset(c.end(last))), "")
		}
	}
}

// start is the node that an entry or item begins with; end the one that it ends with.
func (c cut) start(i int) *yaml.Node {
	if c.at.value.Kind == yaml.SequenceNode {
		return c.at.value.Content[i]
	}
	return c.at.value.Content[2*i]
}

func (c cut) end(i int) *yaml.Node {
	if c.at.value.Kind == yaml.SequenceNode {
		return c.at.value.Content[i]
	}
	return c.at.value.Content[2*i+1]
}

func (s *splicer) commaBefore(at int) int {
	for i := at - 1; i > 0; i-- {
		if s.text[i] == ',' {
			return i
		}
	}
	return at
}

// strip takes our additions out of a template's meaning, as remove does from its text.
func strip(tree map[string]any, namespace bool) {
	for _, name := range []string{"annotations", "labels"} {
		entries, _ := member(member(tree, "metadata"), name).(map[string]any)
		for key := range entries {
			if ours("metadata."+name, key, namespace) {
				delete(entries, key)
			}
		}
	}
	spec, _ := tree["spec"].(map[string]any)
	for _, name := range []string{"initContainers", "volumes"} {
		list, ok := spec[name].([]any)
		if !ok {
			continue
		}
		spec[name] = slices.DeleteFunc(list, func(item any) bool {
			itemName, _ := member(item, "name").(string)
			return oursByName("spec."+name, itemName)
		})
	}
}
