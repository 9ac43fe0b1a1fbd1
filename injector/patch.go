package injector

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	corev1 "k8s.io/api/core/v1"
)

// Patch is the change as JSON patch operations on a pod or template that looks like pod. It only
// ever adds, so that fields which this version does not know, of a newer Kubernetes, are left
// alone; a patch computed from two typed objects would remove them.
func (c Change) Patch(pod corev1.PodTemplateSpec) []jsonpatch.Operation {
	ops := addEntries("/metadata/annotations", pod.Annotations == nil, c.Annotations)
	ops = append(ops, addEntries("/metadata/labels", pod.Labels == nil, c.Labels)...)
	ops = append(ops, addItems("/spec/initContainers", pod.Spec.InitContainers == nil,
		c.InitContainers)...)
	return append(ops, addItems("/spec/volumes", pod.Spec.Volumes == nil, c.Volumes)...)
}

func addEntries(path string, absent bool, entries map[string]string) []jsonpatch.Operation {
	if absent {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, entries)}
	}
	var ops []jsonpatch.Operation
	for _, key := range slices.Sorted(maps.Keys(entries)) {
		ops = append(ops, jsonpatch.NewOperation("add", path+"/"+escapePointer(key), entries[key]))
	}
	return ops
}

func addItems[T any](path string, absent bool, items []T) []jsonpatch.Operation {
	if absent && len(items) > 0 {
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, items)}
	}
	var ops []jsonpatch.Operation
	for i, item := range items {
		ops = append(ops, jsonpatch.NewOperation("add", fmt.Sprintf("%s/%d", path, i), item))
	}
	return ops
}

// escapePointer: RFC 6901 §3.
func escapePointer(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

func marshalPatch(ops []jsonpatch.Operation) ([]byte, error) {
	text, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("write JSON patch: %w", err)
	}
	return text, nil
}
