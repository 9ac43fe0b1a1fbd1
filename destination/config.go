package destination

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// computeConfig answers what a proxy is told about itself. Where nobody says anything there is no
// resource: the proxy goes by its environment.
func (v *view) computeConfig(name registry.Name) *answer {
	config, err := v.config(name)
	out := &answer{}
	if err != nil {
		out.invalid = err.Error()
	}
	if proto.Size(config) > 0 {
		key := &api.Key{Key: &api.Key_Self{}}
		out.resources = []*resource{newResource(api.Kind_KIND_CONFIG, api.KeyString(key),
			&api.Resource{Body: &api.Resource_Config{Config: config}})}
	}
	return out
}

// config is what the annotations of a pod say of its proxy, or else its namespace's. One that means
// nothing is as if it were not there, and the error, which the proxy logs, says so: the others
// hold. Without a pod (its name is empty: none was attested) only the namespace speaks.
func (v *view) config(name registry.Name) (*api.Config, error) {
	own := &registry.Meta{Namespace: name.Namespace}
	if w := v.Workload(name); w != nil {
		own = &w.Meta
	}
	out := &api.Config{}
	level, err := v.levelOf(own)
	if level != api.Level_LEVEL_UNSPECIFIED {
		out.Log = &api.Log{Level: level}
	}
	return out, err
}

func (v *view) levelOf(own *registry.Meta) (api.Level, error) {
	value, ok := v.annotation(own, names.AnnotationLogLevel)
	if !ok {
		return api.Level_LEVEL_UNSPECIFIED, nil
	}
	level, ok := api.Level_value["LEVEL_"+strings.ToUpper(strings.TrimSpace(value))]
	if !ok || level == int32(api.Level_LEVEL_UNSPECIFIED) {
		return api.Level_LEVEL_UNSPECIFIED, notOneOf(
			names.AnnotationLogLevel, value, "debug, info, warn, error")
	}
	return api.Level(level), nil
}

func notOneOf(annotation, value, allowed string) error {
	return fmt.Errorf("annotation %s: %q is not one of %s", annotation, value, allowed)
}
