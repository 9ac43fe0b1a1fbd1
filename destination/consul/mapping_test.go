package consul

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/registry"
)

func testMapping() *mapping {
	return &mapping{namespace: "consul", trustDomain: trustDomain}
}

// mapped is what instances become, in lines.
func mapped(t testing.TB, m *mapping, name string, instances ...map[string]any) (string, error) {
	t.Helper()
	body, err := json.Marshal(instances)
	if err != nil {
		t.Fatal(err)
	}
	all, err := decodeInstances(body)
	if err != nil {
		t.Fatal(err)
	}
	objects, problem := m.objects(name, all)
	var lines []string
	for _, obj := range objects {
		lines = append(lines, lineOf(obj))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), problem
}

func lineOf(obj registry.Object) string {
	switch obj := obj.(type) {
	case *registry.Service:
		return fmt.Sprintf("service %s any port: %v, as %d", obj.Key(), obj.AnyPort,
			obj.Ports[0].Number)
	case *registry.Host:
		return fmt.Sprintf("host %s is %s", obj.Name, obj.Service)
	case *registry.Slice:
		out := fmt.Sprintf("slice %s of %s to %d:", obj.Name, obj.Service, obj.Target)
		for _, ep := range obj.Endpoints {
			out += fmt.Sprintf(" %s*%d", ep.Address, ep.Weight)
			if !ep.Ready {
				out += "!"
			}
			if ep.Mesh != nil {
				out += fmt.Sprintf("@%s=%s", ep.Mesh.Address, ep.Mesh.Identity)
			}
		}
		return out
	}
	return fmt.Sprintf("%T", obj)
}

func TestWhatAServiceBecomes(t *testing.T) {
	got, problem := mapped(t, testMapping(), "web",
		made("web-1", "10.1.0.1", 8080, has("Tags", []string{"v1", "urlprefix-/x", "V3"})),
		made("web-2", "10.1.0.2", 8080, has("Tags", []string{"v2"})),
		made("web-3", "", 9090, has("Tags", []string{"v2", "canary"})),
		made("web-4", "fd00::1", 8080),
		made("web-sidecar", "10.1.0.3", 21000, has("Kind", "connect-proxy")))
	want := `host canary.web.service.consul is consul/canary.web
host canary.web.service.dc1.consul is consul/canary.web
host v1.web.service.consul is consul/v1.web
host v1.web.service.dc1.consul is consul/v1.web
host v2.web.service.consul is consul/v2.web
host v2.web.service.dc1.consul is consul/v2.web
host web.service.consul is consul/web
host web.service.dc1.consul is consul/web
service consul/canary.web any port: true, as 80
service consul/v1.web any port: true, as 80
service consul/v2.web any port: true, as 80
service consul/web any port: true, as 80
slice web:8080 of consul/web to 8080: 10.1.0.1*1 10.1.0.2*1
slice web:8080/6 of consul/web to 8080: fd00::1*1
slice web:9090 of consul/web to 9090: 10.9.0.1*1
slice web~canary:9090 of consul/canary.web to 9090: 10.9.0.1*1
slice web~v1:8080 of consul/v1.web to 8080: 10.1.0.1*1
slice web~v2:8080 of consul/v2.web to 8080: 10.1.0.2*1
slice web~v2:9090 of consul/v2.web to 9090: 10.9.0.1*1`
	if got != want || problem != nil {
		t.Errorf("got (%v)\n%s\nwant\n%s", problem, got, want)
	}
}

// What is in a slice of one instance.
func TestWhatAnInstanceBecomes(t *testing.T) {
	weights := func(passing, warning int) change {
		return has("Weights", map[string]int{"Passing": passing, "Warning": warning})
	}
	meta := func(port, identity string) change {
		return has("Meta", map[string]string{metaMeshPort: port, metaIdentity: identity, "x": "y"})
	}
	const id = "spiffe://cluster.local/ns/shop/sa/web"
	for _, c := range []struct {
		name     string
		instance map[string]any
		want     string // of its slice
		problem  string
	}{
		{"passing", made("a", "10.1.0.1", 80), "10.1.0.1*1", ""},
		{"no checks", made("a", "10.1.0.1", 80, func(i map[string]any) { i["Checks"] = nil }),
			"10.1.0.1*1", ""},
		{"critical", made("a", "10.1.0.1", 80, says("critical")), "10.1.0.1*0!", ""},
		{"in maintenance", made("a", "10.1.0.1", 80, says("warning"), says("maintenance")),
			"10.1.0.1*0!", ""},
		{"the worst counts", made("a", "10.1.0.1", 80, says("critical"), says("warning"),
			says("passing")), "10.1.0.1*0!", ""},
		{"an unknown state", made("a", "10.1.0.1", 80, says("fine")), "10.1.0.1*0!", ""},
		{"weights", made("a", "10.1.0.1", 80, weights(10, 2)), "10.1.0.1*10", ""},
		{"warning", made("a", "10.1.0.1", 80, weights(10, 2), says("warning")), "10.1.0.1*2", ""},
		{"warning has no weight", made("a", "10.1.0.1", 80, weights(10, 0), says("warning")),
			"10.1.0.1*0!", ""},
		{"no weights", made("a", "10.1.0.1", 80, has("Weights", nil), says("warning")),
			"10.1.0.1*1", ""},
		{"weights that cannot be", made("a", "10.1.0.1", 80, weights(1<<40, -1)),
			"10.1.0.1*65535", ""},
		{"its node's address", made("a", "", 80), "10.9.0.1*1", ""},
		{"IPv4 in IPv6", made("a", "::ffff:10.1.0.1", 80), "10.1.0.1*1", ""},
		{"a proxy", made("a", "10.1.0.1", 80, meta("4143", id)), "10.1.0.1*1@10.1.0.1:4143=" + id,
			""},
		{"a name", made("a", "web.example", 80), "",
			`a: address "web.example" is no IP address`},
		{"loopback", made("a", "127.0.0.1", 80), "", "127.0.0.1 is none for others to call"},
		{"a cloud's metadata", made("a", "169.254.169.254", 80), "", "is none for others"},
		{"nowhere", made("a", "0.0.0.0", 80), "", "is none for others"},
		{"no port", made("a", "10.1.0.1", 0), "", "port 0 is none"},
		{"too high a port", made("a", "10.1.0.1", 65536), "", "port 65536 is none"},
		{"a proxy of nobody", made("a", "10.1.0.1", 80, meta("4143", "")), "",
			`tulle-spiffe-id: parse SPIFFE ID ""`},
		{"an identity and no proxy", made("a", "10.1.0.1", 80, meta("", id)), "",
			`tulle-mesh-port "" beside tulle-spiffe-id is no port`},
		{"port 0", made("a", "10.1.0.1", 80, meta("0", id)), "", "is no port"},
		{"another trust domain", made("a", "10.1.0.1", 80,
			meta("4143", "spiffe://other/ns/shop/sa/web")), "", "is not of trust domain"},
		{"no workload", made("a", "10.1.0.1", 80, meta("4143", "spiffe://cluster.local/web")), "",
			"is not a workload's ID"},
	} {
		got, problem := mapped(t, testMapping(), "web", c.instance)
		_, got, _ = strings.Cut(got, "\nslice web:80 of consul/web to 80: ")
		if got != c.want || (problem == nil) != (c.problem == "") ||
			problem != nil && !strings.Contains(problem.Error(), c.problem) {
			t.Errorf("%s: got %q, %v; want %q, %q", c.name, got, problem, c.want, c.problem)
		}
	}
}

// On one machine everything is on loopback.
func TestLoopbackOnOneMachine(t *testing.T) {
	m := testMapping()
	m.loopback = true
	got, problem := mapped(t, m, "web", made("a", "127.0.0.1", 80))
	if !strings.HasSuffix(got, ": 127.0.0.1*1") || problem != nil {
		t.Errorf("got %s, %v", got, problem)
	}
}

// One address that two agents registered is one endpoint, which the better registration describes.
func TestTwoInstancesAtOneAddress(t *testing.T) {
	good, bad := made("a", "10.1.0.1", 80), made("b", "10.1.0.1", 80, says("critical"))
	for _, order := range [][]map[string]any{{good, bad}, {bad, good}} {
		got, _ := mapped(t, testMapping(), "web", order...)
		if !strings.HasSuffix(got, " to 80: 10.1.0.1*1") {
			t.Errorf("got %s", got)
		}
	}
}

// A service has so many tags with a name, and no more, whatever its instances say.
func TestTagsAreBounded(t *testing.T) {
	var tags []string
	for i := range 10 * maxTags {
		tags = append(tags, fmt.Sprintf("t%03d", i))
	}
	slices.Reverse(tags)
	got, _ := mapped(t, testMapping(), "web", made("a", "10.1.0.1", 80, has("Tags", tags)))
	if n := strings.Count(got, "service consul/t"); n != maxTags ||
		!strings.Contains(got, "service consul/t000.web ") {
		t.Errorf("%d tags:\n%s", n, got)
	}
}

// FuzzInstances: whatever Consul says, or whoever answers in its place, what the registry is given
// is whole, and the same whenever it is said again.
func FuzzInstances(f *testing.F) {
	body, err := json.Marshal([]map[string]any{
		made("a", "10.1.0.1", 80, has("Tags", []string{"v1"}), has("Meta", map[string]string{
			metaMeshPort: "4143", metaIdentity: "spiffe://cluster.local/ns/shop/sa/web"})),
		made("b", "fd00::1", 80, says("warning")),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("web", body)
	f.Add("web", []byte(`[{"Service":{"Port":-1,"Weights":{"Passing":-1}},"Checks":[{}]}]`))
	f.Add("web", []byte("null"))
	f.Fuzz(func(t *testing.T, name string, body []byte) {
		all, err := decodeInstances(body)
		if err != nil {
			return
		}
		m := testMapping()
		objects, _ := m.objects(name, all)
		again, _ := m.objects(name, all)
		byID := map[objectID]registry.Object{}
		for _, obj := range objects {
			id := objectID{reflect.TypeOf(obj), obj.Key()}
			if _, host := obj.(*registry.Host); byID[id] != nil && !host {
				t.Fatalf("two of %v", id)
			}
			byID[id] = obj
			if slice, ok := obj.(*registry.Slice); ok {
				checkSlice(t, slice)
			}
		}
		for _, obj := range again {
			if !reflect.DeepEqual(byID[objectID{reflect.TypeOf(obj), obj.Key()}], obj) {
				t.Errorf("the second time it is %v", obj)
			}
		}
		registry.New().Owner("consul").Apply(registry.Change{Set: objects})
	})
}

func checkSlice(t *testing.T, slice *registry.Slice) {
	t.Helper()
	if slice.Target == 0 || len(slice.Endpoints) == 0 {
		t.Errorf("slice %v", slice)
	}
	for _, ep := range slice.Endpoints {
		switch {
		case !ep.Address.IsValid(), ep.Address.IsLoopback(), ep.Address.Is4In6(),
			ep.Ready != (ep.Weight > 0), ep.Weight > maxWeight:
			t.Errorf("endpoint %+v", ep)
		case ep.Mesh != nil && (ep.Mesh.Address.Port() == 0 ||
			!strings.HasPrefix(ep.Mesh.Identity, "spiffe://cluster.local/ns/")):
			t.Errorf("behind %+v", ep.Mesh)
		}
	}
}

// FuzzServices: the names of a catalog, whatever else is in it.
func FuzzServices(f *testing.F) {
	f.Add([]byte(`{"consul":[],"web":["v1","v2"]}`))
	f.Add([]byte(`{"a":null,"a":1,"":{}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		names, err := decodeServices(body)
		if err != nil {
			return
		}
		slices.Sort(names)
		if len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("names are %q", names)
		}
	})
}
