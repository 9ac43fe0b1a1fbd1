package destination

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// computeConfig answers what a proxy is told about itself, with which of its own ports it checks.
// Where nobody says anything there is no Config: the proxy goes by its environment.
func (v *view) computeConfig(name registry.Name) *answer {
	config, err := v.config(name)
	out := &answer{}
	if err != nil {
		out.invalid = err.Error()
	}
	if proto.Size(config) > 0 {
		key := &api.Key{Key: &api.Key_Self{}}
		r := newResource(api.Kind_KIND_CONFIG, api.KeyString(key),
			&api.Resource{Body: &api.Resource_Config{Config: config}})
		r.policies = v.used
		out.resources = []*resource{r}
	}
	out.resources = append(out.resources, v.checkedInbounds(name)...)
	return out
}

// config is what the annotations of a pod say of its proxy, or else its namespace's, or else the
// TelemetryPolicies about the pod: who annotates wants to see something now. An annotation that
// means nothing is as if it were not there, and the error, which the proxy logs, says so: the
// others hold. Without a pod (its name is empty: none was attested) only the namespace speaks.
func (v *view) config(name registry.Name) (*api.Config, error) {
	own := &registry.Meta{Namespace: name.Namespace}
	if w := v.Workload(name); w != nil {
		own = &w.Meta
	}
	out := &api.Config{}
	level, err := word[api.Level](v, own, levels)
	if level != api.Level_LEVEL_UNSPECIFIED {
		out.Log = &api.Log{Level: level}
	}
	format, formatErr := word[api.Format](v, own, formats)
	if format != api.Format_FORMAT_UNSPECIFIED {
		out.AccessLog = &api.AccessLog{Format: format}
	} else if spec := v.telemetry(own, hasAccessLog); spec != nil {
		out.AccessLog = policy.AccessLog(spec.AccessLog)
	}
	var tracingErr error
	out.Tracing, tracingErr = v.tracing(own)
	return out, errors.Join(err, formatErr, tracingErr)
}

// tracing is what a proxy is told of it: the installation's word, or that of the TelemetryPolicy
// about the pod, but for the sampling, of which the nearest annotation has it.
func (v *view) tracing(own *registry.Meta) (*api.Tracing, error) {
	mesh := v.mesh.Tracing
	if spec := v.telemetry(own, hasTracing); spec != nil {
		mesh = policy.Tracing(mesh, spec.Tracing)
	}
	text, said := v.annotation(own, names.AnnotationTraceSampling)
	if !said {
		return mesh, nil
	}
	ratio, on, err := crd.ParseSampling(text)
	switch {
	case err != nil:
		return mesh, fmt.Errorf("annotation %s: %w", names.AnnotationTraceSampling, err)
	case !on:
		return nil, nil
	case mesh == nil: // who annotates wants to see something: viz shows it
		return &api.Tracing{Ratio: ratio, SpansPerSecond: api.DefaultSpansPerSecond}, nil
	}
	out := proto.CloneOf(mesh)
	out.Ratio = ratio
	return out, nil
}

// words are an annotation's values, and the numbers of an enum that they stand for.
type words struct {
	annotation string
	allowed    []string
	prefix     string // of the enum's names
	numbers    map[string]int32
}

var (
	levels = words{names.AnnotationLogLevel, []string{"debug", "info", "warn", "error"}, "LEVEL_",
		api.Level_value}
	formats = words{names.AnnotationAccessLog, []string{"none", "json", "text"}, "FORMAT_",
		api.Format_value}
)

// word is the enum's number that the nearest annotation says; 0: none is set.
func word[E ~int32](v *view, own *registry.Meta, w words) (E, error) {
	value, ok := v.annotation(own, w.annotation)
	if !ok {
		return 0, nil
	}
	name := strings.ToLower(strings.TrimSpace(value))
	if !slices.Contains(w.allowed, name) {
		return 0, fmt.Errorf("annotation %s: %q is not one of %s", w.annotation, value,
			strings.Join(w.allowed, ", "))
	}
	return E(w.numbers[w.prefix+strings.ToUpper(name)]), nil
}
