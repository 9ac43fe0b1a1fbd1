package registry

import (
	"net/netip"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func endpoint(addr string, change ...func(*Endpoint)) Endpoint {
	ep := Endpoint{
		Address: netip.MustParseAddr(addr), Ready: true,
		Workload: Name{Namespace: "shop", Name: "pod-" + addr},
	}
	for _, f := range change {
		f(&ep)
	}
	return ep
}

func sliceOf(endpoints ...Endpoint) *Slice {
	return &Slice{
		Meta: Meta{Namespace: "shop", Name: "web-a"}, Service: Name{Namespace: "shop", Name: "web"},
		Ports: []NamedPort{{"http", 80}}, Endpoints: endpoints,
	}
}

func workload(change ...func(*Workload)) *Workload {
	w := &Workload{
		Meta: Meta{Namespace: "shop", Name: "pod-10.1.0.1"}, UID: "1",
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.1.0.2")},
	}
	for _, f := range change {
		f(w)
	}
	return w
}

func onPort(number uint16, s *Slice) *Slice {
	s.Ports = []NamedPort{{"http", number}}
	return s
}

// What proxies must not use any longer is told apart from what they may use now.
func TestALossIsToldApart(t *testing.T) {
	one, two := "10.1.0.1", "10.1.0.2"
	unready := func(ep *Endpoint) { ep.Ready = false }
	terminating := func(ep *Endpoint) { ep.Terminating = true }
	renamed := func(ep *Endpoint) { ep.Workload.Name = "other" }
	policy := &Policy{Kind: "P", Meta: Meta{Namespace: "shop", Name: "web"}}
	labelled := service("web", time.Time{}, one)
	labelled.Annotations = map[string]string{"tulle.dev/opaque-ports": "80"}
	portless := sliceOf(endpoint(one))
	portless.Ports = nil
	for name, c := range map[string]struct {
		was, is Object
		lost    bool
	}{
		"a first slice":    {nil, sliceOf(endpoint(one)), false},
		"an endpoint more": {sliceOf(endpoint(one)), sliceOf(endpoint(two), endpoint(one)), false},
		"an endpoint less": {sliceOf(endpoint(one), endpoint(two)), sliceOf(endpoint(two)), true},
		"an unready one less": {
			sliceOf(endpoint(one, unready)), sliceOf(), false},
		"an endpoint gets ready": {
			sliceOf(endpoint(one, unready)), sliceOf(endpoint(one)), false},
		"an endpoint gets unready": {
			sliceOf(endpoint(one)), sliceOf(endpoint(one, unready)), true},
		"an endpoint terminates": {
			sliceOf(endpoint(one)), sliceOf(endpoint(one, terminating)), true},
		"an endpoint's workload": {sliceOf(endpoint(one)), sliceOf(endpoint(one, renamed)), true},
		"another port": {
			sliceOf(endpoint(one)), onPort(81, sliceOf(endpoint(one))), true},
		"no port":                {sliceOf(endpoint(one)), portless, true},
		"a slice is gone":        {sliceOf(endpoint(one)), nil, true},
		"an empty slice is gone": {sliceOf(), nil, false},

		"a workload":         {nil, workload(), false},
		"a workload is gone": {workload(), nil, true},
		"a workload terminates": {
			workload(), workload(func(w *Workload) { w.Terminating = true }), true},
		"a workload ends": {workload(), workload(func(w *Workload) { w.Ended = true }), true},
		"a workload's successor": {
			workload(), workload(func(w *Workload) { w.UID = "2" }), true},
		"a workload's address": {
			workload(), workload(func(w *Workload) { w.Addresses = w.Addresses[:1] }), true},
		"a workload's annotation": {
			workload(),
			workload(func(w *Workload) { w.Annotations = labelled.Annotations }), false},

		"a service":              {nil, service("web", time.Time{}, one), false},
		"a service's annotation": {service("web", time.Time{}, one), labelled, false},
		"a service's address": {
			service("web", time.Time{}, one), service("web", time.Time{}, two), true},
		"a service is gone": {service("web", time.Time{}, one), nil, true},
		"a policy":          {nil, policy, false},
		"a policy is gone":  {policy, nil, true},
		"a policy's target": {attached("web"), attached("db"), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := New()
			owner := r.Owner("test")
			if c.was != nil {
				owner.Apply(set(c.was))
			}
			r.TakeTouched()
			if c.is != nil {
				owner.Apply(set(c.is))
			} else {
				owner.Apply(gone(c.was))
			}
			touched := r.TakeTouched()
			if lost := len(touched.Lost) > 0; lost != c.lost {
				t.Errorf("it is a loss: %v; touched are %v", lost, touched)
			}
			if len(touched.Lost)+len(touched.Rest) == 0 {
				t.Error("nothing is touched")
			}
		})
	}
}

// attached is a policy of a service, by reference.
func attached(service string) *Policy {
	return &Policy{Kind: "R", Meta: Meta{Namespace: "shop", Name: "r"},
		Targets: []Name{{Namespace: "shop", Name: service}}}
}

// Who reads the policies on a service reads them again when one comes, moves or goes.
func TestPoliciesOnAService(t *testing.T) {
	r := New()
	owner := r.Owner("test")
	on := func(service string) (n int, topics map[Topic]struct{}) {
		r.Read(func(v *View) {
			n, topics = len(v.PoliciesOn(Name{Namespace: "shop", Name: service})), v.Topics()
		})
		return n, topics
	}
	_, topics := on("web")
	for _, step := range []struct {
		name string
		do   Change
		want int
	}{
		{"comes", set(attached("web")), 1}, {"moves", set(attached("db")), 0},
		{"comes back", set(attached("web")), 1}, {"goes", gone(attached("web")), 0},
	} {
		r.TakeTouched()
		owner.Apply(step.do)
		touched := r.TakeTouched()
		for topic := range topics {
			_, lost := touched.Lost[topic]
			if _, rest := touched.Rest[topic]; !lost && !rest {
				t.Errorf("%s: %v is not touched", step.name, topic)
			}
		}
		if n, _ := on("web"); n != step.want {
			t.Errorf("%s: %d policies are on shop/web, want %d", step.name, n, step.want)
		}
	}
	if len(r.policiesByTarget) != 0 {
		t.Errorf("left are %v", r.policiesByTarget)
	}
}

// Who reads who refers to a policy reads it again when one comes, refers to another, or goes.
func TestUsersOfAPolicy(t *testing.T) {
	r := New()
	owner := r.Owner("test")
	used := PolicyRef{Kind: "F", Name: Name{Namespace: "shop", Name: "f"}}
	using := func(name string) *Policy {
		return &Policy{Kind: "R", Meta: Meta{Namespace: "shop", Name: "r"},
			Uses: []PolicyRef{{Kind: "F", Name: Name{Namespace: "shop", Name: name}}}}
	}
	of := func() (n int, topics map[Topic]struct{}) {
		r.Read(func(v *View) { n, topics = len(v.UsersOf(used)), v.Topics() })
		return n, topics
	}
	_, topics := of()
	for _, step := range []struct {
		name string
		do   Change
		want int
	}{
		{"comes", set(using("f")), 1}, {"refers to another", set(using("g")), 0},
		{"comes back", set(using("f")), 1}, {"goes", gone(using("f")), 0},
	} {
		r.TakeTouched()
		owner.Apply(step.do)
		touched := r.TakeTouched()
		for topic := range topics {
			if _, rest := touched.Rest[topic]; !rest {
				t.Errorf("%s: %v is not touched", step.name, topic)
			}
		}
		if n, _ := of(); n != step.want {
			t.Errorf("%s: %d policies refer to it, want %d", step.name, n, step.want)
		}
	}
	if len(r.policiesByUse) != 0 {
		t.Errorf("left are %v", r.policiesByUse)
	}
}

// Who reads the policies of one kind is not told of another kind's, nor of what an object says of
// itself.
func TestPoliciesOfAKindOnAService(t *testing.T) {
	r := New()
	owner := r.Owner("test")
	web := Name{Namespace: "shop", Name: "web"}
	var topics map[Topic]struct{}
	of := func(kinds ...string) (n int) {
		r.Read(func(v *View) { n, topics = len(v.PoliciesOn(web, kinds...)), v.Topics() })
		return n
	}
	told := func() bool {
		touched := r.TakeTouched()
		for topic := range topics {
			if _, rest := touched.Rest[topic]; rest {
				return true
			}
		}
		return false
	}
	for _, c := range []struct {
		kinds []string
		n     int
		told  bool
	}{{nil, 1, true}, {[]string{"R"}, 1, true}, {[]string{"Q", "R"}, 1, true},
		{[]string{"Q"}, 0, false}} {
		owner.Apply(gone(attached("web")))
		r.TakeTouched()
		of(c.kinds...)
		owner.Apply(set(attached("web")))
		if got := told(); got != c.told {
			t.Errorf("who reads %q is told: %v", c.kinds, got)
		}
		if n := of(c.kinds...); n != c.n {
			t.Errorf("of %q there are %d, want %d", c.kinds, n, c.n)
		}
	}
	edit := func(generation int64, says string) bool {
		p := attached("web")
		p.Generation, p.Reported.Conditions = generation, []metav1.Condition{{Message: says}}
		owner.Apply(set(p))
		return told()
	}
	of("R")
	if !edit(1, "") || edit(1, "in use") || !edit(2, "in use") {
		t.Error("an edit is told, and what the object says of itself is not")
	}
}

// A loss stays one whatever comes after it, and nothing is touched twice.
func TestALossStaysOneUntilItIsTaken(t *testing.T) {
	r := New()
	owner := r.Owner("test")
	owner.Apply(set(sliceOf(endpoint("10.1.0.1"))))
	owner.Apply(set(sliceOf()))
	owner.Apply(set(sliceOf(endpoint("10.1.0.2"))))
	touched := r.TakeTouched()
	web := Topic{kind: topicEndpoints, name: Name{Namespace: "shop", Name: "web"}}
	_, lost := touched.Lost[web]
	if _, rest := touched.Rest[web]; !lost || rest {
		t.Errorf("touched are %v", touched)
	}
}

// Of a slice's workloads only those that entered or left it are touched: a workload's inbound side
// depends on the slices that name it, and not on who else is in them.
func TestAWorkloadIsTouchedByItsOwnSlicesOnly(t *testing.T) {
	r := New()
	owner := r.Owner("test")
	one, two, three := endpoint("10.1.0.1"), endpoint("10.1.0.2"), endpoint("10.1.0.3")
	check := func(what string, s *Slice, want ...Endpoint) {
		t.Helper()
		r.TakeTouched()
		owner.Apply(set(s))
		touched, n := r.TakeTouched(), 0
		for _, topics := range []map[Topic]struct{}{touched.Lost, touched.Rest} {
			for topic := range topics {
				if topic.kind == topicWorkload {
					n++
				}
			}
		}
		for _, ep := range want {
			topic := Topic{kind: topicWorkload, name: ep.Workload}
			_, lost := touched.Lost[topic]
			if _, rest := touched.Rest[topic]; !lost && !rest {
				t.Errorf("%s: %s is not touched", what, ep.Workload)
			}
		}
		if n != len(want) {
			t.Errorf("%s: %d workloads are touched, want %d", what, n, len(want))
		}
	}
	check("a slice", sliceOf(one, two), one, two)
	check("one gets unready",
		sliceOf(one, endpoint("10.1.0.2", func(ep *Endpoint) { ep.Ready = false })))
	check("one leaves, one enters", sliceOf(one, three), two, three)
	check("other ports", onPort(81, sliceOf(one, three)), one, three)
}

// Routes depend on whether a service has hints, and on nothing else of its endpoints.
func TestHintsAreToldWhenTheyComeAndGo(t *testing.T) {
	zone := func(ep *Endpoint) { ep.Hints = &Hints{Zones: []string{"a"}} }
	node := func(ep *Endpoint) { ep.Hints = &Hints{Nodes: []string{"n"}} }
	r := New()
	owner := r.Owner("test")
	topic := Topic{kind: topicNearness, name: Name{Namespace: "shop", Name: "web"}}
	elsewhere := sliceOf(endpoint("10.1.0.1", zone))
	elsewhere.Service.Name = "other"
	for _, step := range []struct {
		name string
		do   Change
		told bool
	}{
		{"a slice without", set(sliceOf(endpoint("10.1.0.1"))), false},
		{"an endpoint has one", set(sliceOf(endpoint("10.1.0.1", zone))), true},
		{"another has one", set(sliceOf(endpoint("10.1.0.1", zone), endpoint("10.1.0.2", zone))),
			false},
		{"by node", set(sliceOf(endpoint("10.1.0.1", node))), true},
		{"by zone again", set(sliceOf(endpoint("10.1.0.1", zone))), true},
		{"the slice is another service's", set(elsewhere), true},
		{"and comes back", set(sliceOf(endpoint("10.1.0.1", zone))), true},
		{"it is gone", gone(sliceOf()), true},
	} {
		r.TakeTouched()
		owner.Apply(step.do)
		touched := r.TakeTouched()
		_, lost := touched.Lost[topic]
		if _, rest := touched.Rest[topic]; (lost || rest) != step.told {
			t.Errorf("%s: told is %v, want %v", step.name, lost || rest, step.told)
		}
	}
}
