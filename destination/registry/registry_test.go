package registry

import (
	"net/netip"
	"testing"
	"time"
)

func service(name string, created time.Time, addr string) *Service {
	return &Service{
		Meta:      Meta{Namespace: "shop", Name: name, Created: created},
		Addresses: []netip.Addr{netip.MustParseAddr(addr)},
	}
}

func set(objects ...Object) Change  { return Change{Set: objects} }
func gone(objects ...Object) Change { return Change{Delete: objects} }

// addressOf is the first address of shop/web, as readers see it.
func addressOf(r *Registry) (out string) {
	r.Read(func(v *View) {
		if svc := v.Service(Name{Namespace: "shop", Name: "web"}); svc != nil {
			out = svc.Addresses[0].String()
		}
	})
	return out
}

// Sources fill the registry side by side: of two objects of one name the older counts, and no
// source removes what another put there.
func TestEachSourceOwnsItsObjects(t *testing.T) {
	r := New()
	cluster, folder := r.Owner("kubernetes"), r.Owner("files")
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	for _, step := range []struct {
		name  string
		owner *Owner
		do    Change
		want  string
	}{
		{"the first", cluster, set(service("web", young, "10.0.0.1")), "10.0.0.1"},
		{"an older one", folder, set(service("web", old, "10.0.0.2")), "10.0.0.2"},
		{"the younger changes", cluster, set(service("web", young, "10.0.0.3")), "10.0.0.2"},
		{"the older goes", folder, gone(service("web", old, "10.0.0.2")), "10.0.0.3"},
		{"who has none removes none", folder, gone(service("web", old, "10.0.0.2")), "10.0.0.3"},
		{"the last goes", cluster, gone(service("web", young, "10.0.0.3")), ""},
	} {
		step.owner.Apply(step.do)
		if got := addressOf(r); got != step.want {
			t.Errorf("%s: shop/web is at %q, want %q", step.name, got, step.want)
		}
	}
	if len(r.services.objects) != 0 || len(r.servicesByAddress) != 0 {
		t.Errorf("%d services and %d addresses are left", len(r.services.objects),
			len(r.servicesByAddress))
	}
}

// The endpoints of a service are those of all sources together.
func TestSlicesOfAllSourcesCount(t *testing.T) {
	r := New()
	web := Name{Namespace: "shop", Name: "web"}
	slice := func() *Slice {
		return &Slice{Meta: Meta{Namespace: "shop", Name: "web-a"}, Service: web}
	}
	count := func() (n int) {
		r.Read(func(v *View) { n = len(v.Slices(web)) })
		return n
	}
	r.Owner("kubernetes").Apply(set(slice()))
	r.Owner("files").Apply(set(slice()))
	if n := count(); n != 2 {
		t.Errorf("%d slices of two sources, want 2", n)
	}
	r.Owner("files").Apply(gone(slice()))
	if n := count(); n != 1 {
		t.Errorf("%d slices are left of one source, want 1", n)
	}
}

// Whatever a reader has read is touched when it changes, and nothing else is.
func TestTopics(t *testing.T) {
	r := New()
	owner := r.Owner("test")
	owner.Apply(set(service("web", time.Time{}, "10.0.0.1")))
	reads := map[string]map[Topic]struct{}{}
	read := func(name string, f func(*View)) {
		r.Read(func(v *View) {
			f(v)
			reads[name] = v.Topics()
		})
	}
	web := Name{Namespace: "shop", Name: "web"}
	read("service", func(v *View) { v.Service(web) })
	read("services", func(v *View) { v.ServicesIn("shop") })
	read("address", func(v *View) { v.ServiceAt(netip.MustParseAddr("10.0.0.9")) })
	read("endpoints", func(v *View) { v.Slices(web) })
	read("workload", func(v *View) { v.Workload(Name{Namespace: "shop", Name: "web-1"}) })
	read("namespace", func(v *View) { v.Namespace("shop") })
	read("node", func(v *View) { v.Node("n1") })
	read("networks", func(v *View) { v.InNodeNetwork(netip.MustParseAddr("10.0.0.9")) })
	read("services' networks",
		func(v *View) { v.InServiceNetwork(netip.MustParseAddr("10.0.0.9")) })
	read("outer address", func(v *View) { v.ServiceBehind(netip.MustParseAddrPort("10.9.0.1:80")) })
	read("listed address", func(v *View) { v.SlicesAt(netip.MustParseAddr("10.9.0.2")) })
	read("policy", func(v *View) { v.Policy(PolicyRef{Kind: "P", Name: web}) })
	read("another kind's policy", func(v *View) { v.Policy(PolicyRef{Kind: "Q", Name: web}) })
	read("policies", func(v *View) { v.Policies() })

	member := Slice{
		Meta: Meta{Namespace: "shop", Name: "web-a"}, Service: web,
		Endpoints: []Endpoint{{Workload: Name{Namespace: "shop", Name: "web-1"}}},
	}
	for _, c := range []struct {
		object Object
		want   []string
	}{
		{service("web", time.Time{}, "10.0.0.9"), []string{"service", "services", "address"}},
		{&member, []string{"endpoints", "workload"}},
		{&Workload{Meta: Meta{Namespace: "shop", Name: "web-1"}},
			[]string{"endpoints", "workload"}},
		{&Namespace{Meta{Name: "shop"}}, []string{"namespace"}},
		{&Node{Meta: Meta{Name: "n1"}}, []string{"node"}},
		{&Node{Meta: Meta{Name: "n2"},
			Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}},
			[]string{"networks", "services' networks"}},
		{&Network{Meta: Meta{Name: "kubernetes"}}, []string{"networks", "services' networks"}},
		{&Service{Meta: Meta{Namespace: "shop", Name: "edge"},
			Outer: []netip.Addr{netip.MustParseAddr("10.9.0.1")}},
			[]string{"services", "outer address"}},
		{&Slice{Meta: Meta{Namespace: "shop", Name: "old-a"},
			Endpoints: []Endpoint{{Address: netip.MustParseAddr("10.9.0.2")}}},
			[]string{"listed address"}},
		{&Policy{Kind: "P", Meta: Meta{Namespace: "shop", Name: "web"}},
			[]string{"policy", "policies"}},
	} {
		r.TakeTouched()
		owner.Apply(set(c.object))
		touched := r.TakeTouched()
		want := map[string]bool{}
		for _, name := range c.want {
			want[name] = true
		}
		for name, topics := range reads {
			hit := false
			for topic := range topics {
				_, rest := touched.Rest[topic]
				_, lost := touched.Lost[topic]
				hit = hit || rest || lost
			}
			if hit != want[name] {
				t.Errorf("%T %s: who read the %s is told: %v", c.object, c.object.Key(), name, hit)
			}
		}
	}
}

func TestLabels(t *testing.T) {
	l := NewLabels(map[string]string{"b": "2", "a": "1", "empty": ""})
	for key, want := range map[string]string{"a": "1", "b": "2", "empty": "", "none": ""} {
		value, ok := l.Lookup(key)
		if value != want || ok != (key != "none") || l.Get(key) != want || l.Has(key) != ok {
			t.Errorf("%s is %q, %v", key, value, ok)
		}
	}
	if (Labels{}).Has("a") {
		t.Error("no labels have one")
	}
}
