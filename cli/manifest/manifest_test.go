package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/viz"
)

func testConfig() Config {
	return Config{
		Injector: injector.Config{
			Version: "v1", TrustDomain: "cluster.local", Namespace: "tulle",
			ProxyImage: "tulle/mesh-proxy:v1", OutboundPolicy: injector.Allow,
			PullPolicy: "IfNotPresent", LogLevel: "info",
		},
		ServerImage: "tulle/meshctl:v1", IdentityLifetime: 24 * time.Hour,
	}
}

func render(t *testing.T) []byte {
	t.Helper()
	text, err := Render(Objects(testConfig()))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSameBytesEveryTimeAndNoSecret(t *testing.T) {
	text := render(t)
	for range 5 {
		if !bytes.Equal(text, render(t)) {
			t.Fatal("two renderings differ")
		}
	}
	for _, forbidden := range []string{
		"kind: Secret", "PRIVATE KEY", "BEGIN CERTIFICATE", "creationTimestamp: null", "\nstatus:",
	} {
		if bytes.Contains(text, []byte(forbidden)) {
			t.Errorf("the manifest holds %q", forbidden)
		}
	}
}

// kubectl applies documents in their order, and most need the ones before.
func TestOrderOfObjects(t *testing.T) {
	var kinds []string
	for _, doc := range strings.Split(string(render(t)), "---\n")[1:] {
		var o struct {
			Kind     string
			Metadata struct {
				Name, Namespace string
				Labels          map[string]string
			}
		}
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, o.Kind)
		if o.Metadata.Labels[partOf] != "tulle" {
			t.Errorf("%s %s has no label %s", o.Kind, o.Metadata.Name, partOf)
		}
	}
	server := "ServiceAccount ClusterRole ClusterRoleBinding "
	want := strings.Repeat("CustomResourceDefinition ", 8) + "Namespace " +
		server + "Role RoleBinding Service Deployment " +
		server + "Role RoleBinding Service Deployment " +
		server + "Service Deployment PodDisruptionBudget " +
		server + "Service Service Deployment " +
		"ClusterRole ClusterRole MutatingWebhookConfiguration"
	if got := strings.Join(kinds, " "); got != want {
		t.Errorf("kinds:\n%s\nwant\n%s", got, want)
	}
}

// The whole of what each server may do. A line more here is a decision.
func TestRights(t *testing.T) {
	want := []string{
		"ClusterRole tulle-identity authentication.k8s.io/tokenreviews [] create",
		"ClusterRole tulle-identity /namespaces [] get,list,watch",
		"ClusterRole tulle-identity /configmaps [] create",
		"ClusterRole tulle-identity /configmaps [tulle-trust] get,list,watch,update,patch",
		"ClusterRole tulle-identity /events [] create,patch",
		"Role tulle-identity /secrets [] create",
		"Role tulle-identity /secrets [tulle-identity-issuer] get,list,watch",
		"ClusterRole tulle-destination /namespaces,nodes,services,pods [] get,list,watch",
		"ClusterRole tulle-destination discovery.k8s.io/endpointslices [] get,list,watch",
		"ClusterRole tulle-destination networking.k8s.io/servicecidrs [] get,list,watch",
		"ClusterRole tulle-destination tulle.dev/serviceprofiles,backendtrafficpolicies," +
			"ratelimitpolicies,faultinjections,telemetrypolicies,servicelevelobjectives [] " +
			"get,list,watch",
		"ClusterRole tulle-destination gateway.networking.k8s.io/httproutes,grpcroutes," +
			"tlsroutes,tcproutes,backendtlspolicies [] get,list,watch",
		"ClusterRole tulle-destination tulle.dev/serviceprofiles/status," +
			"backendtrafficpolicies/status,ratelimitpolicies/status,faultinjections/status," +
			"telemetrypolicies/status,servicelevelobjectives/status [] patch",
		"ClusterRole tulle-destination gateway.networking.k8s.io/httproutes/status," +
			"grpcroutes/status,tlsroutes/status,tcproutes/status,backendtlspolicies/status [] " +
			"patch",
		"Role tulle-destination coordination.k8s.io/leases [] create",
		"Role tulle-destination coordination.k8s.io/leases [tulle-destination] get,update",
		"ClusterRole tulle-injector /namespaces [] get",
		"ClusterRole tulle-injector admissionregistration.k8s.io/mutatingwebhookconfigurations " +
			"[tulle-injector] get,update",
		"ClusterRole tulle-viz tulle.dev/servicelevelobjectives,tapsessions,clustertapsessions " +
			"[] get,list,watch",
		"ClusterRole tulle-viz tulle.dev/tapsessions,clustertapsessions [] delete",
		"ClusterRole tulle-viz /events [] create",
		"ClusterRole tulle-tap tulle.dev/tapsessions,clustertapsessions [] " +
			"create,delete,get,list,watch",
		"ClusterRole tulle-tap-view tulle.dev/tapsessions,clustertapsessions [] get,list,watch",
	}
	var got []string
	for _, object := range Objects(testConfig()) {
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			got = append(got, ruleLines("ClusterRole", o.Name, o.Rules)...)
		case *rbacv1.Role:
			got = append(got, ruleLines("Role", o.Name, o.Rules)...)
		case *rbacv1.ClusterRoleBinding:
			if o.RoleRef.Name != o.Name || len(o.Subjects) != 1 || o.Subjects[0].Name != o.Name ||
				o.Subjects[0].Namespace != "tulle" {
				t.Errorf("binding %s: %+v", o.Name, o)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("rights:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Who may only view a namespace may not tap it.
func TestWhoseRolesTapsAreIn(t *testing.T) {
	got := map[string]string{}
	for _, object := range Objects(testConfig()) {
		role, ok := object.(*rbacv1.ClusterRole)
		if !ok {
			continue
		}
		for label := range role.Labels {
			if of, ok := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-"); ok {
				got[of] = role.Name
			}
		}
	}
	if want := map[string]string{"edit": "tulle-tap", "view": "tulle-tap-view"}; !maps.Equal(got,
		want) {
		t.Errorf("aggregated are %v, want %v", got, want)
	}
}

func ruleLines(kind, name string, rules []rbacv1.PolicyRule) []string {
	var out []string
	for _, r := range rules {
		out = append(out, fmt.Sprintf("%s %s %s/%s %v %s", kind, name,
			strings.Join(r.APIGroups, ","), strings.Join(r.Resources, ","),
			r.ResourceNames, strings.Join(r.Verbs, ",")))
	}
	return out
}

// Who decides about unknown addresses is told what install was told, and nothing where that was
// nothing: then the cluster's own networks count.
func TestNetworksReachTheServers(t *testing.T) {
	args := func(c Config) map[string]string {
		out := map[string]string{}
		for _, object := range Objects(c) {
			if d, ok := object.(*appsv1.Deployment); ok {
				out[d.Name] = strings.Join(d.Spec.Template.Spec.Containers[0].Args, " ")
			}
		}
		return out
	}
	given := testConfig()
	given.Injector.ClusterNetworks = []string{"10.1.0.0/16", "fd01::/64"}
	given.Injector.OutboundPolicy = injector.Deny
	plain, told := args(testConfig()), args(given)
	for _, server := range []string{names.Destination, names.Injector} {
		if strings.Contains(plain[server], "--cluster-networks") ||
			!strings.Contains(plain[server], "--outbound-policy=allow") {
			t.Errorf("%s: %s", server, plain[server])
		}
		if !strings.Contains(told[server], "--cluster-networks=10.1.0.0/16,fd01::/64") ||
			!strings.Contains(told[server], "--outbound-policy=deny") {
			t.Errorf("%s: %s", server, told[server])
		}
	}
}

// The namespace asks the API server for Pod Security "restricted"; this is what that means.
func TestServersAreRestricted(t *testing.T) {
	n := 0
	for _, object := range Objects(testConfig()) {
		d, ok := object.(*appsv1.Deployment)
		if !ok {
			continue
		}
		n++
		pod, c := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
		switch {
		case !*pod.SecurityContext.RunAsNonRoot, *pod.SecurityContext.RunAsUser == 0,
			pod.SecurityContext.SeccompProfile.Type != "RuntimeDefault",
			*c.SecurityContext.AllowPrivilegeEscalation, !*c.SecurityContext.ReadOnlyRootFilesystem,
			len(c.SecurityContext.Capabilities.Add) > 0,
			c.SecurityContext.Capabilities.Drop[0] != "ALL":
			t.Errorf("%s: %+v %+v", d.Name, pod.SecurityContext, c.SecurityContext)
		}
		if c.ReadinessProbe == nil || c.LivenessProbe == nil ||
			c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s lacks probes or a memory limit", d.Name)
		}
		// The binary alone has 50 MiB resident: a node that reserves less is sold too often.
		if r := c.Resources.Requests.Memory(); r.Value() < 50<<20 ||
			r.Cmp(*c.Resources.Limits.Memory()) > 0 {
			t.Errorf("%s asks for %s of memory", d.Name, r)
		}
		// Go's collector must know the limit, or the kernel ends the server instead of it.
		var budget resource.Quantity
		for _, e := range c.Env {
			if e.Name == "GOMEMLIMIT" {
				budget = resource.MustParse(e.Value)
			}
		}
		limit := c.Resources.Limits.Memory().Value()
		if n := budget.Value(); n < limit*3/4 || n > limit*9/10 {
			t.Errorf("%s has a GOMEMLIMIT of %d for a limit of %d", d.Name, n, limit)
		}
		if certified := len(pod.Volumes) >= 2; certified == (d.Name == "tulle-identity") {
			t.Errorf("%s: volumes %v", d.Name, pod.Volumes)
		}
	}
	if n != 4 {
		t.Errorf("%d deployments, want 4", n)
	}
}

// A server that promises to hold 10,000 proxies has the memory to admit them, and room for some
// more: a proxy that moves has two connections.
func TestServersAdmitTenThousandProxies(t *testing.T) {
	limits := map[string]serve.Limits{"tulle-identity": identity.ConnectionLimits(),
		"tulle-destination": destination.ConnectionLimits(), "tulle-viz": viz.ConnectionLimits()}
	for _, object := range Objects(testConfig()) {
		d, ok := object.(*appsv1.Deployment)
		if !ok || limits[d.Name].Each == 0 {
			continue
		}
		of := limits[d.Name]
		delete(limits, d.Name)
		for _, e := range d.Spec.Template.Spec.Containers[0].Env {
			if n, err := strconv.ParseInt(e.Value, 10, 64); e.Name == "GOMEMLIMIT" &&
				(err != nil || n < of.Memory(10_000) || of.Connections < 11_000) {
				t.Errorf("%s has a GOMEMLIMIT of %s, needs %d, and admits %d", d.Name, e.Value,
					of.Memory(10_000), of.Connections)
			}
		}
	}
	if len(limits) != 0 {
		t.Errorf("not installed: %v", limits)
	}
}

// Whoever opts in is matched by exactly one of the two webhooks, and nobody else by any.
func TestWebhookSelects(t *testing.T) {
	hooks := testConfig().webhook().Webhooks
	if len(hooks) != 2 {
		t.Fatalf("%d webhooks", len(hooks))
	}
	for _, hook := range hooks {
		excluded := hook.NamespaceSelector.MatchExpressions[0]
		if excluded.Operator != "NotIn" ||
			!slices.Equal(excluded.Values, []string{"tulle", "kube-system"}) {
			t.Errorf("%s: %+v", hook.Name, excluded)
		}
		if *hook.FailurePolicy != "Fail" || *hook.TimeoutSeconds != 10 ||
			*hook.ReinvocationPolicy != "IfNeeded" || hook.ClientConfig.CABundle != nil {
			t.Errorf("%s: %+v", hook.Name, hook)
		}
	}
	if got := hooks[0].NamespaceSelector.MatchLabels[names.AnnotationInject]; got != "enabled" {
		t.Errorf("the namespaces' webhook selects %q", got)
	}
	e := hooks[1].NamespaceSelector.MatchExpressions[1]
	if e.Key != names.AnnotationInject || e.Operator != "NotIn" || e.Values[0] != "enabled" {
		t.Errorf("the pods' webhook would be asked a second time: %+v", e)
	}
}

func TestEveryObjectIsNamed(t *testing.T) {
	seen := map[string]bool{}
	for _, object := range Objects(testConfig()) {
		m, err := apimeta.Accessor(object)
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprintf("%s %s/%s", object.GetObjectKind().GroupVersionKind(), m.GetNamespace(),
			m.GetName())
		if object.GetObjectKind().GroupVersionKind().Kind == "" || m.GetName() == "" || seen[key] {
			t.Errorf("object %s: unnamed or twice", key)
		}
		seen[key] = true
	}
}

// Proxies find every replica of viz, of which there is one unless somebody wants more.
func TestReplicasOfViz(t *testing.T) {
	for _, want := range []int32{1, 3} {
		c := testConfig()
		c.Prometheus.Namespace = "monitoring"
		if want > 1 {
			c.VizReplicas = int(want)
		}
		budget := false
		var replicas int32
		var each, one *corev1.Service
		for _, object := range Objects(c) {
			switch o := object.(type) {
			case *appsv1.Deployment:
				if o.Name == names.Viz {
					replicas = *o.Spec.Replicas
				}
			case *policyv1.PodDisruptionBudget:
				budget = budget || o.Name == names.Viz
			case *corev1.Service:
				switch o.Name {
				case names.Viz:
					one = o
				case names.VizReplicas:
					each = o
				}
			}
		}
		if replicas != want || budget != (want > 1) {
			t.Errorf("%d replicas, want %d; a budget: %v", replicas, want, budget)
		}
		if each == nil || each.Spec.ClusterIP != corev1.ClusterIPNone ||
			!maps.Equal(each.Spec.Selector, one.Spec.Selector) || each.Spec.Ports[0].Port != 8084 {
			t.Errorf("proxies find replicas by %+v", each)
		}
		sticky := one.Spec.SessionAffinity == corev1.ServiceAffinityClientIP
		if sticky != (want > 1) {
			t.Errorf("with %d replicas Prometheus stays with one: %v", want, sticky)
		}
	}
}

// Who calls whom is read by the namespace that was named, and by nobody where none was.
func TestWhoMayReadTheMeshsMetrics(t *testing.T) {
	text := string(render(t))
	for _, forbidden := range []string{"metrics-listen", "name: metrics", "NetworkPolicy"} {
		if strings.Contains(text, forbidden) {
			t.Errorf("nobody was named, and there is %q", forbidden)
		}
	}
	c := testConfig()
	c.Prometheus.Namespace = "monitoring"
	var policy *networkingv1.NetworkPolicy
	var viz *appsv1.Deployment
	for _, object := range Objects(c) {
		switch o := object.(type) {
		case *networkingv1.NetworkPolicy:
			policy = o
		case *appsv1.Deployment:
			if o.Name == names.Viz {
				viz = o
			}
		}
	}
	if policy == nil || viz == nil {
		t.Fatalf("policy %v, viz %v", policy, viz)
	}
	if !slices.Contains(viz.Spec.Template.Spec.Containers[0].Args, "--metrics-listen=:9991") {
		t.Errorf("viz is told %v", viz.Spec.Template.Spec.Containers[0].Args)
	}
	if got, want := policy.Spec.PodSelector.MatchLabels,
		viz.Spec.Selector.MatchLabels; !maps.Equal(got, want) {
		t.Errorf("the policy is for %v, viz's pods have %v", got, want)
	}
	open := map[string]string{} // by port: the namespace that may
	for _, rule := range policy.Spec.Ingress {
		who := "all"
		if len(rule.From) == 1 {
			who = rule.From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"]
		}
		for _, p := range rule.Ports {
			open[p.Port.StrVal] = who
		}
	}
	want := map[string]string{"tls": "all", "health": "all", "metrics": "monitoring"}
	if !maps.Equal(open, want) {
		t.Errorf("open are %v, want %v", open, want)
	}
	for _, p := range viz.Spec.Template.Spec.Containers[0].Ports {
		if open[p.Name] == "" {
			t.Errorf("the policy closes port %s", p.Name)
		}
	}
}
