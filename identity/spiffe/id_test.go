package spiffe

import (
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func TestWorkloadID(t *testing.T) {
	id, err := ForWorkload(td, "shop", "web.v2")
	if err != nil || id.String() != "spiffe://cluster.local/ns/shop/sa/web.v2" {
		t.Fatalf("ForWorkload = %v, %v", id, err)
	}
	ns, sa, err := Workload(id)
	if err != nil || ns != "shop" || sa != "web.v2" {
		t.Fatalf("Workload = %q, %q, %v", ns, sa, err)
	}
}

func TestBadIDs(t *testing.T) {
	for _, s := range []string{
		"", "spiffe://", "spiffe://cluster.local", "spiffe://cluster.local/",
		"spiffe://cluster.local/ns/shop", "spiffe://cluster.local/ns/shop/sa",
		"spiffe://cluster.local/ns/shop/sa/", "spiffe://cluster.local/ns/shop/sa/web/",
		"spiffe://cluster.local/ns/shop/sa/web/x", "spiffe://cluster.local/ns//sa/web",
		"spiffe://cluster.local//ns/shop/sa/web", "spiffe://cluster.local/ns/../sa/web",
		"spiffe://cluster.local/ns/shop/sa/..", "spiffe://cluster.local/ns/sh%6fp/sa/web",
		"spiffe://cluster.local/ns/shop/sa/we%2Fb", "spiffe://cluster.local/sa/shop/ns/web",
		"spiffe://cluster.local/NS/shop/SA/web", "spiffe://cluster.local:443/ns/shop/sa/web",
		"spiffe://me@cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/web?x=y",
		"spiffe://cluster.local/ns/shop/sa/web#x", "SPIFFE://cluster.local/ns/shop/sa/web",
		"https://cluster.local/ns/shop/sa/web", "spiffe://Cluster.local/ns/shop/sa/web",
		"spiffe://cluster.local/ns/Shop/sa/web", "spiffe://cluster.local/ns/shop/sa/we_b",
		"spiffe://cluster.local/ns/sh.op/sa/web", "spiffe://cluster.local/ns/-shop/sa/web",
		"spiffe://cluster.local/ns/shop/sa/web-", "spiffe://cluster.local/ns/shop/sa/a..b",
		"spiffe://cluster.local/ns/" + strings.Repeat("a", 64) + "/sa/web",
		"spiffe://cluster.local/ns/shop/sa/" + strings.Repeat("a", 254),
	} {
		if id, err := ParseWorkload(s); err == nil {
			t.Errorf("ParseWorkload(%q) = %v, want an error", s, id)
		}
	}
	for _, names := range [][2]string{
		{"", "web"}, {"shop", ""}, {"sh/op", "web"}, {"shop", "web/x"}, {"..", "web"},
	} {
		if id, err := ForWorkload(td, names[0], names[1]); err == nil {
			t.Errorf("ForWorkload(%q) = %v, want an error", names, id)
		}
	}
}

// What is accepted must come back as the very same text: two spellings of one identity are an
// attack.
func FuzzParseWorkload(f *testing.F) {
	f.Add("spiffe://cluster.local/ns/shop/sa/web")
	f.Add("spiffe://cluster.local/ns/shop/sa/../sa/web")
	f.Add("spiffe://cluster.local/ns/sh%2fop/sa/web")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseWorkload(s)
		if err != nil {
			return
		}
		ns, sa, err := Workload(id)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ForWorkload(spiffeid.RequireTrustDomainFromString(id.TrustDomain().Name()),
			ns, sa)
		if err != nil || again.String() != s {
			t.Fatalf("%q became %q, %v", s, again, err)
		}
	})
}
