package destination

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

var self = &api.Key{Key: &api.Key_Self{Self: &api.Self{}}}

// annotated is a namespace or a pod of shop's with an annotation.
func annotated(kind, name, annotation string) string {
	text := `{apiVersion: v1, kind: ` + kind + `, metadata: {name: ` + name + `, annotations: {` +
		annotation + `}`
	if kind == "Pod" {
		return text +
			`, namespace: shop}, ` +
			`spec: {serviceAccountName: web, containers: [{name: app}]}, status: {phase: Running}}`
	}
	return text + "}}"
}

// told waits for what the proxy is told about itself: a Config, or that there is none any more.
func (c *client) told() *api.Config {
	c.t.Helper()
	list := c.next().GetResources().GetResources()
	if len(list) != 1 || list[0].Kind != api.Kind_KIND_CONFIG || list[0].Name != "self" {
		c.t.Fatalf("told %v, want what is about the proxy itself", list)
	}
	return list[0].GetConfig()
}

// What the annotations of a pod say of its proxy, or else its namespace's, reaches the proxy while
// it runs; what nobody says any more is removed.
func TestAnnotationsReachProxiesThatRun(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.hello(api.CapabilityConfig, api.CapabilityAccessLog)
	c.resume()
	c.subscribe(self)
	c.wants()

	now := func(kind, name, annotation string) {
		t.Helper()
		s.apply(t, objectsOf(t, annotated(kind, name, annotation))...)
	}
	const level = "tulle.dev/proxy-log-level: "
	now("Namespace", "shop", level+"debug")
	if got := c.told().GetLog().GetLevel(); got != api.Level_LEVEL_DEBUG {
		t.Errorf("by its namespace: %v", got)
	}
	now("Pod", "web-1", level+"Error")
	if got := c.told().GetLog().GetLevel(); got != api.Level_LEVEL_ERROR {
		t.Errorf("the pod beats its namespace: %v", got)
	}
	now("Pod", "web-1", "")
	if got := c.told().GetLog().GetLevel(); got != api.Level_LEVEL_DEBUG {
		t.Errorf("the namespace again: %v", got)
	}
	now("Namespace", "shop", "tulle.dev/access-log: json")
	got := c.told()
	if got.GetLog() != nil || got.GetAccessLog().GetFormat() != api.Format_FORMAT_JSON {
		t.Errorf("told %v, want an access log", got)
	}
	now("Namespace", "shop", "")
	if got := c.told(); got != nil {
		t.Errorf("nobody says anything, and the proxy is told %v", got)
	}
}

// An annotation that means nothing is as if it were not there, and the proxy is told so.
func TestAnAnnotationThatMeansNothingIsNamed(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.hello(api.CapabilityConfig)
	c.resume()
	c.subscribe(self)
	c.wants()
	for _, bad := range []string{"loud", "unspecified", "\"\""} {
		s.apply(t, objectsOf(t, annotated("Namespace", "shop",
			"tulle.dev/proxy-log-level: "+bad))...)
		invalid := c.next().GetInvalid()
		want := "annotation tulle.dev/proxy-log-level: \"" + strings.Trim(bad, `"`) +
			"\" is not one of debug, info, warn, error"
		if api.KeyString(invalid.GetKey()) != "self" || invalid.GetReason() != want {
			t.Errorf("the proxy is told %v, want %s", invalid, want)
		}
	}
}

// A proxy that cannot be configured while it runs is not sent how.
func TestConfigNeedsACapability(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.proxy(t)
	s.apply(t, objectsOf(t, annotated("Namespace", "shop", "tulle.dev/proxy-log-level: debug"))...)
	c.subscribe(self)
	if got := c.next().GetInvalid(); !strings.HasSuffix(got.GetReason(),
		"lacks what the answer needs: config") {
		t.Errorf("told %v", got)
	}
}

// Where spans go is the installation's to say; how many traces begin at a proxy its pod's
// annotation or else its namespace's may say.
func TestTracingIsTheMeshsAndSamplingTheWorkloads(t *testing.T) {
	collector := &api.Tracing{Endpoint: "otel:4317", Ratio: 10_000, SpansPerSecond: 1,
		Protocol: api.Transport_TRANSPORT_GRPC}
	const annotation = "tulle.dev/trace-sampling: "
	for _, tt := range []struct {
		mesh           *api.Tracing
		namespace, pod string
		want           int // in a million; -1: there is none
		err            string
	}{
		{nil, "", "", -1, ""},
		{collector, "", "", 10_000, ""},
		{collector, annotation + "5%", "", 50_000, ""},
		{collector, annotation + "5%", annotation + "'0.01'", 100, ""},
		{collector, annotation + "0%", annotation + "100%", 1_000_000, ""},
		{collector, annotation + "5%", annotation + "'off'", -1, ""},
		{collector, annotation + "often", "", 10_000, `"often" is not a percentage`},
		{collector, "", annotation + "-1%", 10_000, `"-1%" is not a percentage`},
		{collector, "", annotation + "NaN", 10_000, `"NaN" is not a percentage`},
		{nil, annotation + "5%", "", 50_000, ""},
	} {
		mesh := testMesh()
		mesh.Tracing = tt.mesh
		reg := registryOf(t, annotated("Namespace", "shop", tt.namespace),
			annotated("Pod", "web-1", tt.pod))
		mesh.read(reg, func(v *view) {
			config, err := v.config(registry.Name{Namespace: "shop", Name: "web-1"})
			got := -1
			if config.Tracing != nil {
				got = int(config.Tracing.Ratio)
			}
			if got != tt.want || (err != nil) != (tt.err != "") ||
				err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%+v: %d and %v", tt, got, err)
			}
			if tt.mesh == nil && config.Tracing != nil {
				if config.Tracing.Endpoint != "" || config.Tracing.Check() != nil {
					t.Errorf("without a collector the proxy is told %v", config.Tracing)
				}
				return
			}
			if config.Tracing != nil {
				config = proto.CloneOf(config)
				config.Tracing.Ratio = collector.Ratio
				if !proto.Equal(config.Tracing, collector) || config.Tracing.Check() != nil {
					t.Errorf("the proxy is told %v", config.Tracing)
				}
			}
		})
	}
}
