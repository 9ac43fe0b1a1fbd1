package registry

import (
	"cmp"
	"maps"
	"slices"
)

// index maps a key to the objects that have it: an address may for a moment belong to two, in
// whatever order the events about them arrive.
type index[K, V comparable] map[K]map[V]struct{}

// set adds v under k, or removes it.
func (x index[K, V]) set(k K, v V, present bool) {
	if !present {
		delete(x[k], v)
		if len(x[k]) == 0 {
			delete(x, k)
		}
		return
	}
	if x[k] == nil {
		x[k] = map[V]struct{}{}
	}
	x[k][v] = struct{}{}
}

// sorted returns what a key has, in one order on every replica.
func sorted[K, V comparable](x index[K, V], k K, compare func(a, b V) int) []V {
	return slices.SortedFunc(maps.Keys(x[k]), compare)
}

// CompareNames orders by namespace, then by name.
func CompareNames(a, b Name) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// comparePolicies orders by kind, then by name.
func comparePolicies(a, b PolicyRef) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), CompareNames(a.Name, b.Name))
}
