package destination

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
)

func (k *k8s) policiesIn(namespace string) dynamic.ResourceInterface {
	return k.dynamic.Resource(crd.BackendTrafficPolicyResource()).Namespace(namespace)
}

// ancestors waits until all that a policy says of its targets is in the lines, one for each:
// CONTROLLER KIND NAME[.NAMESPACE][:PORT], STATUS(REASON) of Accepted, and its message.
func (k *k8s) ancestors(namespace, name string, want ...string) {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(k.t.Context(), 10*time.Second)
	defer cancel()
	watch, err := k.policiesIn(namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		k.t.Fatal(err)
	}
	defer watch.Stop()
	for {
		u, err := k.policiesIn(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			k.t.Fatal(err)
		}
		got := strings.Join(ancestorLines(k.t, u), "\n")
		if got == strings.Join(want, "\n") {
			return
		}
		select {
		case <-watch.ResultChan():
		case <-ctx.Done():
			k.t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
		}
	}
}

func ancestorLines(t *testing.T, u *unstructured.Unstructured) (lines []string) {
	t.Helper()
	var p crd.BackendTrafficPolicy
	content := map[string]any{"status": u.Object["status"]}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, &p); err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Status.Ancestors {
		line := string(a.ControllerName) + " " + refText(&a.AncestorRef)
		for _, c := range a.Conditions {
			if c.Type == status.Accepted {
				line += fmt.Sprintf(" %s(%s) %s", c.Status, c.Reason, c.Message)
			}
			if c.ObservedGeneration != u.GetGeneration() {
				line += fmt.Sprintf(" of edit %d", c.ObservedGeneration)
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func refText(ref *gatewayv1.ParentReference) string {
	text := string(ref.Name)
	if ref.Kind != nil {
		text = string(*ref.Kind) + " " + text
	}
	if ref.Namespace != nil {
		text += "." + string(*ref.Namespace)
	}
	if ref.SectionName != nil {
		text += ":" + string(*ref.SectionName)
	}
	return text
}

// What the mesh says of a policy is said of each of its targets, beside what others say, and
// written only where it is new.
func TestStatusOfTrafficPolicies(t *testing.T) {
	k := startKubernetes(t)
	const ours = "tulle.dev/mesh "
	put := func(namespace, targets string) {
		text := trafficPolicy(namespace, "p", targets, roundRobin)
		k.put(k.policiesIn(namespace), text)
	}
	put("shop", webTarget)
	k.ancestors("shop", "p", ours+"Service web True(Accepted) the policy is in use")

	theirs := []any{map[string]any{"controllerName": "a.example/z", "conditions": []any{},
		"ancestorRef": map[string]any{"name": "gate"}}}
	u, err := k.policiesIn("shop").Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := unstructured.NestedSlice(u.Object, "status", "ancestors")
	if err == nil {
		err = unstructured.SetNestedSlice(u.Object, append(theirs, all...), "status", "ancestors")
	}
	if err == nil {
		_, err = k.policiesIn("shop").Update(t.Context(), u, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	before := k.writes()
	const nothing = "the policy applies to nothing: "
	put("shop", "{kind: Service, name: web, sectionName: http}, "+
		"{kind: Service, name: web, sectionName: admin}, {kind: Service, name: none}, "+
		"{kind: Service, name: db}, {kind: Namespace, name: shop}, {kind: Namespace, name: none}")
	k.ancestors("shop", "p", "a.example/z gate",
		ours+"Service web:http True(Accepted) the policy is in use",
		ours+"Service web:admin False(TargetNotFound) "+nothing+
			"Service shop/web has no TCP port that is called admin",
		ours+"Service none False(TargetNotFound) "+nothing+"there is no Service shop/none",
		ours+"Service db False(TargetNotFound) "+nothing+"of Service shop/db: it is headless: "+
			"whoever calls it has chosen a pod",
		ours+"Namespace shop True(Accepted) the policy is in use",
		ours+"Namespace none False(TargetNotFound) "+nothing+"there is no Namespace none")
	if n := k.writes() - before; n != 1 {
		t.Errorf("%d writes of one edit", n)
	}

	put("other", webOutside)
	k.ancestors("other", "p", ours+"Service web.shop True(Accepted) "+
		"the policy is in use by the callers in namespace other")
}

// Of two policies of one target the older one counts, and the other one says so, until it goes. A
// policy that cannot be used says why, and counts for nothing.
func TestStatusOfTrafficPoliciesThatLost(t *testing.T) {
	k := startKubernetes(t)
	const inUse = "tulle.dev/mesh Service web True(Accepted) the policy is in use"
	first := trafficPolicy("shop", "first", webTarget, roundRobin)
	k.put(k.policiesIn("shop"), of("2020", first))
	k.put(k.policiesIn("shop"), of("2021", trafficPolicy("shop", "a", webTarget, atRandom)))
	k.ancestors("shop", "first", inUse)
	k.ancestors("shop", "a", "tulle.dev/mesh Service web False(Conflicted) "+
		"BackendTrafficPolicy shop/first is older, and about the same")

	k.create("web.shop.svc.cluster.local", "spec: {retryBudget: {}}")
	k.put(k.policiesIn("shop"), of("2020",
		strings.Replace(first, roundRobin, "retryBudget: {}", 1)))
	k.accepted("web.shop.svc.cluster.local", metav1.ConditionTrue, "the profile is in use, "+
		"but its retry budget is not: port 80 has that of BackendTrafficPolicy shop/first")

	k.put(k.policiesIn("shop"), of("2020",
		strings.Replace(first, roundRobin, "loadBalancer: {type: Fast}", 1)))
	k.ancestors("shop", "first", "tulle.dev/mesh Service web False(Invalid) "+
		`the policy is ignored: spec.loadBalancer.type: Unsupported value: "Fast": `+
		`supported values: "EWMA", `+
		`"LeastRequest", "RoundRobin", "Random", "ConsistentHash"`)
	k.ancestors("shop", "a", inUse)
	k.accepted("web.shop.svc.cluster.local", metav1.ConditionTrue, "the profile is in use")
}

// What a proxy cannot use of a cluster is said by the policies that it was made from.
func TestATrafficPolicyTellsWhatProxiesMadeOfIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judges{t: t, reg: registryOf(t, cluster,
			trafficPolicy("shop", "p", webTarget, slowly))}
		j.hub, j.all = newHub(j.reg, testMesh()), newStandings(j.reg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go j.hub.run(ctx)
		go j.all.run(ctx)
		go (&Destination{hub: j.hub}).watchReports(ctx, func(r *status.Report) {
			for _, c := range r.Want.Parents[0].Conditions {
				if c.Type == status.Programmed {
					j.said = append(j.said, fmt.Sprintf("%s %s %s", c.Status, c.Reason, c.Message))
				}
			}
		})
		synctest.Wait()
		j.wants("without a proxy", "Unknown Pending")
		s := j.proxy(1)
		j.wants("with a proxy", "True Programmed of the proxies that are connected, "+
			"about 1 ")
		j.says(s, rejected(s, resourceID{api.Kind_KIND_CLUSTER, webName}, "no such window"))
		j.wants("it cannot use the cluster", "False Rejected of the proxies that are "+
			"connected, about 1 of 1 cannot use it and keep what they had: "+
			"shop/web-1 (no such window)")
		s.close()
		j.wants("it has left", "Unknown Pending")
		cancel()
		synctest.Wait()
	})
}

// What the mesh does not do is said where users look, and nothing is said of what is somebody
// else's.
func TestABackendTLSPolicyIsToldThatItIsNotObeyed(t *testing.T) {
	reg := registryOf(t, cluster, `
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: tls, namespace: shop}
spec:
  targetRefs:
  - {group: "", kind: Service, name: web, sectionName: http}
  - {group: example.com, kind: Bucket, name: web}
  validation: {hostname: web.example.com, wellKnownCACertificates: System}`)
	testMesh().read(reg, func(v *view) {
		r := v.report(registry.PolicyRef{Kind: crd.BackendTLSPolicy,
			Name: registry.Name{Namespace: "shop", Name: "tls"}})
		if r == nil || len(r.Want.Parents) != 1 || r.Want.Parents[0].ParentRef.Name != "web" {
			t.Fatalf("the report is %+v", r)
		}
		c := meta.FindStatusCondition(r.Want.Parents[0].Conditions, status.Accepted)
		if c == nil || c.Status != metav1.ConditionFalse || c.Reason != "UnsupportedValue" ||
			!strings.Contains(c.Message, "do not obey it") {
			t.Errorf("the condition is %+v", c)
		}
	})
}
