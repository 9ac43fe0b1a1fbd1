package injector

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// document is one YAML document: its nodes, for places in the text, and its meaning as JSON, for
// decisions and for checks.
type document struct {
	root *yaml.Node
	was  any // what the document means
	// what it is to mean: changed along with the text, so that both can be compared afterwards
	want    any
	objects []object
}

// object is one Kubernetes object in a document; a List holds several.
type object struct {
	kind, name, namespace string
	node                  *yaml.Node
	path                  []any    // of the object in the document
	templatePath          []string // of the pod template in the object; nil: it has none
}

func (r *reader) document(root *yaml.Node) (document, error) {
	d := document{root: root}
	if scalar(lookup(root, "kind")) == "" || scalar(lookup(root, "apiVersion")) == "" {
		return d, nil
	}
	var err error
	if d.was, err = r.meaning(root); err != nil {
		return d, errAt(root, "%w", err)
	}
	d.want = d.was
	d.find(root, nil)
	return d, nil
}

// find lists the objects: the document itself, or what a List holds.
func (d *document) find(node *yaml.Node, path []any) {
	kind := scalar(lookup(node, "kind"))
	items := lookup(node, "items")
	if strings.HasSuffix(kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		for i, item := range items.Content {
			d.find(item, append(slices.Clone(path), "items", i))
		}
		return
	}
	meta := member(d.at(path), "metadata")
	r := object{kind: kind, node: node, path: path,
		templatePath: templatePath(scalar(lookup(node, "apiVersion")), kind)}
	r.namespace, _ = member(meta, "namespace").(string)
	if r.name, _ = member(meta, "name").(string); r.name == "" {
		r.name, _ = member(meta, "generateName").(string)
	}
	d.objects = append(d.objects, r)
}

// templatePath says where a kind keeps its pod template.
func templatePath(apiVersion, kind string) []string {
	group, _, _ := strings.Cut(apiVersion, "/")
	switch group + "/" + kind {
	case "v1/Pod":
		return []string{}
	case "apps/Deployment", "apps/StatefulSet", "apps/DaemonSet", "apps/ReplicaSet", "batch/Job",
		"v1/ReplicationController":
		return []string{"spec", "template"}
	case "batch/CronJob":
		return []string{"spec", "jobTemplate", "spec", "template"}
	}
	return nil
}

func (r object) fullPath() []any {
	path := slices.Clone(r.path)
	for _, key := range r.templatePath {
		path = append(path, key)
	}
	return path
}

// template is the place of the pod template in the text.
func (r object) template() (location, error) {
	at := location{value: r.node}
	if r.node.Kind != yaml.MappingNode {
		return at, errAt(r.node, "%s %q is an alias: write it out", strings.ToLower(r.kind), r.name)
	}
	for _, key := range r.templatePath {
		next, ok := at.child(key)
		if !ok || next.value.Kind != yaml.MappingNode {
			return at, errAt(
				at.value,
				"%s %q: %s is not written here as a mapping (an alias or a merge key?): write "+
					"it out", strings.ToLower(r.kind), r.name, key)
		}
		at = next
	}
	at.path = ""
	return at, nil
}

// at follows a path in the document's meaning.
func (d *document) at(path []any) any {
	v := d.want
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = member(v, step)
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

func member(v any, key string) any {
	m, _ := v.(map[string]any)
	return m[key]
}

// lookup finds a key's value in a mapping node.
func lookup(n *yaml.Node, key string) *yaml.Node {
	at, ok := location{value: n}.child(key)
	if !ok {
		return nil
	}
	return at.value
}

func scalar(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

// location is a value in the text and the key it belongs to.
type location struct {
	key, value *yaml.Node
	path       string // from the pod template: "metadata.annotations"
}

func (p location) child(key string) (location, bool) {
	if p.value.Kind != yaml.MappingNode {
		return location{}, false
	}
	// Of a key that comes twice kubectl takes the last one.
	for i := len(p.value.Content)/2*2 - 2; i >= 0; i -= 2 {
		if p.value.Content[i].Value == key {
			return location{p.value.Content[i], p.value.Content[i+1], p.sub(key)}, true
		}
	}
	return location{}, false
}

func (p location) sub(key string) string {
	if p.path == "" {
		return key
	}
	return p.path + "." + key
}
