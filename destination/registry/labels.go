package registry

import (
	"maps"
	"slices"
	"strings"
	"unique"
)

// Labels are an object's labels. Each pair is kept once in the process, however many objects have
// it: the pods of one Deployment differ in none, and a pair costs an object 8 bytes.
//
// Labels has the methods of k8s.io/apimachinery/pkg/labels.Labels, so that selectors take it.
type Labels struct {
	pairs []unique.Handle[pair] // sorted by key
}

type pair struct{ key, value string }

// NewLabels copies a map of labels.
func NewLabels(all map[string]string) Labels {
	if len(all) == 0 {
		return Labels{}
	}
	l := Labels{pairs: make([]unique.Handle[pair], 0, len(all))}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		l.pairs = append(l.pairs, unique.Make(pair{key, all[key]}))
	}
	return l
}

// Lookup returns a label's value, and whether the label is there.
func (l Labels) Lookup(key string) (string, bool) {
	i, ok := slices.BinarySearchFunc(l.pairs, key, func(p unique.Handle[pair], key string) int {
		return strings.Compare(p.Value().key, key)
	})
	if !ok {
		return "", false
	}
	return l.pairs[i].Value().value, true
}

// Contains says whether all of other are among the labels.
func (l Labels) Contains(other Labels) bool {
	return !lacks(l.pairs, other.pairs)
}

// Get returns a label's value, or "".
func (l Labels) Get(key string) string {
	value, _ := l.Lookup(key)
	return value
}

// Has says whether a label is there.
func (l Labels) Has(key string) bool {
	_, ok := l.Lookup(key)
	return ok
}
