package discover

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// clusters is a message of some clusters, each with its version.
func clusters(versions ...string) *api.DiscoverResponse {
	var list []*api.Resource
	for _, v := range versions {
		name := v[:1]
		list = append(list, &api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: name, Version: v,
			Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: name,
				Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}}}}})
	}
	return &api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: list}}}
}

var welcome = &api.DiscoverResponse{Message: &api.DiscoverResponse_Welcome{
	Welcome: &api.Welcome{}}}

// Two proxies that hold the same have the same revision, by whichever way they came to hold it, and
// with each change another one.
func TestTheRevisionIsOfWhatIsHeld(t *testing.T) {
	one, other := newSession(t), newSession(t)
	if h := one.Holding(); h.Revision != "" || h.Connected {
		t.Errorf("before destination has said anything: %+v", h)
	}
	seen := map[string]bool{}
	for _, m := range []*api.DiscoverResponse{welcome, clusters("a1"), clusters("b1"),
		clusters("a2"), clusters("c1", "d1")} {
		one.Apply(m)
		r := one.Holding().Revision
		if len(r) != 8 || seen[r] {
			t.Errorf("revision %q, after %v", r, seen)
		}
		seen[r] = true
	}
	other.Apply(welcome)
	other.Apply(clusters("d1", "c1", "b1", "a2", "e1"))
	if other.Holding().Revision == one.Holding().Revision {
		t.Error("one holds e, and the revision does not say so")
	}
	gone := clusters("e1")
	gone.GetResources().Resources[0].Removed, gone.GetResources().Resources[0].Body = true, nil
	other.Apply(gone)
	if a, b := one.Holding().Revision, other.Holding().Revision; a != b {
		t.Errorf("they hold the same: %s and %s", a, b)
	}
	if n := len(one.Held()); n != 4 || len(one.Clusters()) != 4 {
		t.Errorf("%d resources and %d clusters are held", n, len(one.Clusters()))
	}
}

// The age is since destination's last word. While it is away it is since its stream ended.
func TestTheAgeOfWhatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSession(t)
		is := func(age time.Duration, connected bool) {
			t.Helper()
			if h := d.Holding(); h.Age != age || h.Connected != connected {
				t.Errorf("%+v, want %s and %v", h, age, connected)
			}
		}
		d.Apply(welcome)
		time.Sleep(time.Hour)
		is(time.Hour, true)
		d.Apply(clusters("a1"))
		time.Sleep(time.Minute)
		is(time.Minute, true)
		d.setStream(nil, nil)
		is(0, false)
		time.Sleep(time.Minute)
		d.setStream(nil, nil) // a dial failed
		is(time.Minute, false)
		d.Apply(welcome)
		is(0, true)
	})
}
