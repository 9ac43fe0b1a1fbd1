package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	apix "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
)

// Config is what an installation is told. Nothing else has a say in what is rendered.
type Config struct {
	Injector         injector.Config
	ServerImage      string        // meshctl
	IdentityLifetime time.Duration // of an SVID
	Prometheus       Prometheus
	VizReplicas      int // 0 is 1
	Consul           Consul
	// Tracing are destination's flags for where spans go; none: nowhere.
	Tracing []string
}

// CRDs are the kinds that users write, and those that commands make for them.
func CRDs() (out []runtime.Object) {
	for _, definition := range []*apix.CustomResourceDefinition{
		crd.CRD(), crd.BackendTrafficPolicyCRD(), crd.RateLimitPolicyCRD(),
		crd.FaultInjectionCRD(), crd.TelemetryPolicyCRD(), crd.ServiceLevelObjectiveCRD(),
		crd.TapSessionCRD(), crd.ClusterTapSessionCRD(),
	} {
		own := definition.Labels
		definition.Labels = labels("")
		maps.Copy(definition.Labels, own)
		out = append(out, definition)
	}
	return out
}

// Objects are everything, in the order in which they must be made. The webhook comes last: before
// its servers are there, it could only stop pods.
func Objects(c Config) []runtime.Object {
	out := append(CRDs(), c.namespace())
	for _, s := range c.servers() {
		out = append(out, c.account(s))
		out = append(out, c.rights(s)...)
		out = append(out, c.service(s))
		if s.each != "" {
			out = append(out, c.serviceOfEach(s))
		}
		out = append(out, c.deployment(s))
		if s.replicas > 1 {
			out = append(out, c.disruptionBudget(s))
		}
		if s.metrics != 0 {
			out = append(out, c.readersOf(s))
		}
	}
	out = append(out, userRoles()...)
	out = append(out, c.monitors()...)
	return append(out, c.webhook())
}

// Render prints objects as YAML documents.
func Render(objects []runtime.Object) ([]byte, error) {
	var out bytes.Buffer
	for _, object := range objects {
		text, err := marshal(object)
		if err != nil {
			return nil, fmt.Errorf("render %T: %w", object, err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

// marshal drops the status that typed objects print: it is the cluster's to say.
func marshal(object runtime.Object) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	delete(tree, "status")
	return yaml.Marshal(tree)
}

const partOf = "app.kubernetes.io/part-of"

// labels of every object, as Kubernetes recommends them.
func labels(name string) map[string]string {
	l := map[string]string{partOf: names.Mesh, "app.kubernetes.io/managed-by": "meshctl"}
	if name != "" {
		l["app.kubernetes.io/name"] = name
	}
	return l
}

func meta(name, namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels(name)}
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}
