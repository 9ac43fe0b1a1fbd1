package destination

import (
	"maps"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"
)

// index maps a key to the objects that have it: an address may for a moment belong to two, in whatever order the events
// about them arrive.
type index[K, V comparable] map[K]map[V]struct{}

func (x index[K, V]) add(k K, v V) {
	if x[k] == nil {
		x[k] = map[V]struct{}{}
	}
	x[k][v] = struct{}{}
}

func (x index[K, V]) remove(k K, v V) {
	delete(x[k], v)
	if len(x[k]) == 0 {
		delete(x, k)
	}
}

// names returns what a key has, in one order on every replica.
func names[K comparable](x index[K, types.NamespacedName], k K) []types.NamespacedName {
	return slices.SortedFunc(maps.Keys(x[k]), compareNames)
}

func compareNames(a, b types.NamespacedName) int {
	switch {
	case a.Namespace != b.Namespace && a.Namespace < b.Namespace, a.Namespace == b.Namespace && a.Name < b.Name:
		return -1
	case a == b:
		return 0
	}
	return 1
}

// parseIP takes an address in any spelling to its one value, and says no to what is none.
func parseIP(text string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(text)
	return addr.Unmap(), err == nil && addr.Zone() == ""
}
