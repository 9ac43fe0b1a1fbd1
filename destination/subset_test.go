package destination

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// The sequences of Lamping and Veach's function are monotonic: with one more number keys keep
// theirs, or take the new one, as often as it is one of all.
func TestJumpMovesNoMoreThanItMust(t *testing.T) {
	const keys, most = 20_000, 40
	moved := make([]int, most+1)
	for k := range keys {
		key := nameHash(fmt.Sprint("pod-", k))
		for n := 1; n < most; n++ {
			was, is := jump(key, n), jump(key, n+1)
			if is != was && is != n || is < 0 || is > n {
				t.Fatalf("of %d it is %d, of %d it is %d", n, was, n+1, is)
			}
			if is != was {
				moved[n+1]++
			}
		}
	}
	for n := 2; n <= most; n++ {
		want := keys / float64(n)
		if got := float64(moved[n]); math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%v keys move to number %d, want %.0f", got, n, want)
		}
	}
}

// Of 5,000 endpoints and 2,000 callers every endpoint has callers, and as many as chance says:
// their number is binomial, of one in as many as there are subsets, and so is a subset's size.
func TestSubsetsAreEven(t *testing.T) {
	const endpoints, callers, size = 5000, 2000, 100
	n := subsets(endpoints, size)
	if n != 50 {
		t.Fatalf("%d subsets, want 50", n)
	}
	var all []*api.Endpoint
	for i := range endpoints {
		all = append(all, &api.Endpoint{Id: fmt.Sprintf("web-%d/10.0.%d.%d:80", i, i>>8, i&255)})
	}
	byID := func(a, b *api.Endpoint) int { return strings.Compare(a.Id, b.Id) }
	slices.SortFunc(all, byID)
	asked := make([]int, n)
	for i := range callers {
		asked[jump(nameHash("shop", "/", fmt.Sprint("client-", i)), n)]++
	}
	sum := 0
	for i, list := range divided(all, n) {
		sum += len(list)
		if math.Abs(float64(len(list)-size)) > 5*math.Sqrt(size) {
			t.Errorf("subset %d has %d endpoints", i, len(list))
		}
		if want := callers / float64(n); math.Abs(float64(asked[i])-want) > 5*math.Sqrt(want) {
			t.Errorf("subset %d has %d callers, want about %.0f", i, asked[i], want)
		}
		if !slices.IsSortedFunc(list, byID) {
			t.Errorf("subset %d is out of order", i)
		}
	}
	if sum != endpoints {
		t.Errorf("%d of %d endpoints are in subsets", sum, endpoints)
	}
	for _, tt := range []struct{ endpoints, size, want int }{
		{5000, 0, 1}, {0, 100, 1}, {199, 100, 1}, {200, 100, 2}, {1 << 20, 10, maxSubsets},
	} {
		if got := subsets(tt.endpoints, tt.size); got != tt.want {
			t.Errorf("%d endpoints have %d subsets of %d, want %d", tt.endpoints, got, tt.size,
				tt.want)
		}
	}
}

// callersLot is the subset of shop/web-1 of four.
var callersLot = jump(nameHash("shop", "/", "web-1"), 4)

// many is a service of so many endpoints but for some, by their numbers.
func many(n int, but ...int) string {
	var rest []string
	for i := range n {
		if slices.Contains(but, i) {
			rest = append(rest, unready)
		} else {
			rest = append(rest, "")
		}
	}
	return hinted("", rest)
}

// A proxy has its subset of a large cluster, hears of changes to it alone, and has all endpoints
// once they are few.
func TestAProxyIsToldOfItsSubset(t *testing.T) {
	target := "{kind: Service, name: api, namespace: shop}"
	s := startServer(t, cluster, many(45), trafficPolicy("shop", "p", target, "subset: {size: 10}"))
	close(s.gate.open)
	c := s.proxy(t)
	c.subscribe(authority("api"))
	const name = "api.shop.svc.cluster.local:80"
	whole, own, others := "Endpoints "+name, []int{}, []int{}
	ids := map[string]int{}
	for i := range 45 {
		ids[fmt.Sprintf("10.9.0.%d:80", i+1)] = i
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if jump(nameHash(id), 4) != callersLot {
			others = append(others, ids[id])
			continue
		}
		whole, own = whole+" "+id, append(own, ids[id])
	}
	c.wants("Cluster "+name, whole, "Route authority/api")

	s.apply(t, objectsOf(t, many(45, others[0]))...)
	s.apply(t, objectsOf(t, many(45, others[0], own[0]))...)
	c.wants(fmt.Sprintf("EndpointsDelta %s -10.9.0.%d:80", name, own[0]+1))

	s.apply(t, objectsOf(t, many(3))...)
	c.wants("Endpoints " + name + " 10.9.0.1:80 10.9.0.2:80 10.9.0.3:80")
	s.apply(t, objectsOf(t, many(45))...)
	c.wants(whole)
}
