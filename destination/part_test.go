package destination

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// routeOf makes a route whose content has so many bytes, under the longest name.
func routeOf(t *testing.T, size int) *resource {
	t.Helper()
	route := &api.Route{Authority: strings.Repeat("a", size)}
	r := newResource(api.Kind_KIND_ROUTE, strings.Repeat("n", api.MaxName), &api.Resource{
		Body: &api.Resource_Route{Route: route},
	})
	route.Authority = route.Authority[proto.Size(r.snapshot)-size:]
	if n := proto.Size(r.snapshot); n != size {
		t.Fatalf("%d bytes, not %d", n, size)
	}
	return r
}

// checkFits fails where a batch is sent as a larger message than a proxy takes.
func checkFits(t *testing.T, all []*api.Resource) {
	t.Helper()
	for _, batch := range batches(all) {
		m := &api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
			Resources: &api.Resources{Resources: batch},
		}}
		if n := proto.Size(m); n > api.MaxResponse {
			t.Errorf("a message has %d bytes, more than %d", n, api.MaxResponse)
		}
	}
}

// The largest resource that is sent fits a message; one byte more is answered in words.
func TestAResourceAtTheBoundIsSentAndOneAboveIsNot(t *testing.T) {
	whole := routeOf(t, maxPart)
	if err := whole.seal(); err != nil {
		t.Fatal(err)
	}
	checkFits(t, []*api.Resource{whole.snapshot, whole.snapshot})
	err := routeOf(t, maxPart+1).seal()
	words := fmt.Sprintf("%d bytes, more than %d", maxPart+1, maxPart)
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("one byte more is answered by %v", err)
	}
}

// However the endpoints add up, a message with a part of them is no larger than it may be.
func TestPartsOfEndpointsFitTheirMessages(t *testing.T) {
	for _, length := range []int{8, 231, 4096, maxPart / 2, maxPart/2 + 1} {
		var list []*api.Endpoint
		for i := range maxPart/length + 2 {
			id := fmt.Sprintf("%07d", i)
			list = append(list, &api.Endpoint{Id: id + strings.Repeat("i", length-len(id))})
		}
		r := newResource(api.Kind_KIND_ENDPOINTS, strings.Repeat("n", api.MaxName), &api.Resource{
			Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}},
		})
		if err := r.seal(); err != nil {
			t.Fatal(err)
		}
		if len(r.parts) < 2 {
			t.Fatalf("of %d bytes each: %d parts", length, len(r.parts))
		}
		checkFits(t, append([]*api.Resource{routeOf(t, 1<<10).snapshot}, r.parts...))
	}
}

// What a profile that validates compiles to can always be sent, to callers and to its own pods.
func TestTheLargestProfileFitsAMessage(t *testing.T) {
	long := strings.Repeat("r", crd.MaxRegex)
	few := strings.Repeat(`{"method":"GET"},`, 2)
	some := strings.Repeat(`{"method":"GET","any":[`+few[:len(few)-1]+`]},`, 4)
	deep := strings.Repeat(`{"any":[`+strings.Repeat(`{"pathRegex":"`+long+`"},`, 1)+
		`{"method":"G","pathRegex":"`+long+`"}]},`, 4)
	for name, condition := range map[string]string{
		"both": `{"any":[` + strings.Repeat(`{"all":[`+deep[:len(deep)-1]+`]},`, 9) +
			`{"method":"GET"}]}`,
		"long expressions": `{"any":[` + strings.Repeat(`{"pathRegex":"`+long+`"},`, 6) +
			`{"method":"GET"}]}`,
		"many conditions": `{"any":[` + strings.Repeat(`{"method":"G","all":[`+some[:len(some)-1]+
			`]},`, 9) + `{"method":"GET"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			profile := largest(t, condition)
			reg := registryOf(t, cluster, profile)
			testMesh().read(reg, func(v *view) {
				port := &api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}}
				for _, key := range []*api.Key{authority("web.shop"), port} {
					a := v.compute(webPod.question(key)).seal()
					if a.invalid != "" {
						t.Fatalf("%v: %s", key, a.invalid)
					}
					content := a.resources[0].snapshot
					if len(content.GetRoute().GetHttp())+len(content.GetInbound().GetHttp()) == 0 {
						t.Errorf("%v: the profile is not in the answer", key)
					}
					checkFits(t, a.resources[0].parts)
				}
			})
		})
	}
}

// largest is a profile with as many routes of one condition as validate.
func largest(t *testing.T, condition string) string {
	t.Helper()
	route := fmt.Sprintf(`{"name":%q,"condition":%s}`, strings.Repeat("n", crd.MaxRouteName),
		condition)
	routes := min(crd.MaxRoutes, (crd.MaxSpec-(1<<10))/(len(route)+1))
	text := fmt.Sprintf(`{"apiVersion":"tulle.dev/v1alpha1","kind":"ServiceProfile","metadata":`+
		`{"namespace":"shop","name":"web.shop.svc.cluster.local"},"spec":{"routes":[%s]}}`,
		strings.Join(strings.Split(strings.Repeat(route+"\n", routes)[:routes*(len(route)+1)-1],
			"\n"), ","))
	if !json.Valid([]byte(text)) {
		t.Fatal("the test's profile is no JSON")
	}
	if routes < crd.MaxRoutes && len(text) < crd.MaxSpec*4/5 {
		t.Fatalf("%d bytes are far from the bound", len(text))
	}
	return text
}
