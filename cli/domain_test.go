package cli

import "testing"

func TestTheResolverNamesTheClustersDomain(t *testing.T) {
	for conf, want := range map[string]string{
		"": "",
		"nameserver 10.96.0.10\nsearch tulle.svc.mesh.example svc.mesh.example mesh.example\n" +
			"options ndots:5\n": "mesh.example",
		"search svc.cluster.local. cluster.local.": "cluster.local",
		"search corp.example\n":                    "",
		"search svc.a.example\nsearch b.example":   "",
		"# search svc.a.example\n\nsearch":         "",
	} {
		if got := searchedDomain(conf); got != want {
			t.Errorf("%q: %q, want %q", conf, got, want)
		}
	}
}
