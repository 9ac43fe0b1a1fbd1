package injector

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// What users write. All of them work on a pod template; a namespace's annotations are the defaults of its pods.
const (
	AnnotationInject       = "tulle.dev/inject" // enabled | disabled; also a label, of namespaces and pods
	AnnotationMode         = "tulle.dev/mode"   // strict | permissive
	AnnotationOpaquePorts  = "tulle.dev/opaque-ports"
	AnnotationSkipInbound  = "tulle.dev/skip-inbound-ports"
	AnnotationSkipOutbound = "tulle.dev/skip-outbound-ports"
	AnnotationProxyCPUs    = "tulle.dev/proxy-cpus" // GOMAXPROCS
	AnnotationProxyImage   = "tulle.dev/proxy-image"
	AnnotationLogLevel     = "tulle.dev/proxy-log-level"
)

// What the injector writes.
const (
	AnnotationInjected = "tulle.dev/injected" // the version that did it
	// annotationKeys remembers what InjectText had to create or replace around its additions, so that UninjectText can undo it.
	annotationKeys = "tulle.dev/injected-keys"
	LabelMesh      = "tulle.dev/mesh" // destination takes a pod with this label for meshed
	labelMeshValue = "tulle"
)

const (
	enabled  = "enabled"
	disabled = "disabled"
)

// inherited are the annotations that a pod takes from its namespace. They are written on the pod, where destination reads them.
var inherited = []string{
	AnnotationMode, AnnotationOpaquePorts, AnnotationSkipInbound, AnnotationSkipOutbound,
	AnnotationProxyCPUs, AnnotationProxyImage, AnnotationLogLevel,
}

// settings are a pod's annotations, checked.
type settings struct {
	mode         string
	skipInbound  []string
	skipOutbound []string
	cpus         int
	image        string
	logLevel     string
}

// parseSettings refuses what it does not understand: a typo in `mode: strict` must not leave a workload open.
func parseSettings(annotations map[string]string) (settings, error) {
	s := settings{mode: annotations[AnnotationMode], image: annotations[AnnotationProxyImage], logLevel: annotations[AnnotationLogLevel], cpus: 1}
	if err := oneOf(AnnotationMode, s.mode, "strict", "permissive"); err != nil {
		return s, err
	}
	if err := oneOf(AnnotationLogLevel, s.logLevel, "debug", "info", "warn", "error"); err != nil {
		return s, err
	}
	if err := s.parsePorts(annotations); err != nil {
		return s, err
	}
	if v, ok := annotations[AnnotationProxyCPUs]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxCPUs {
			return s, fmt.Errorf("annotation %s: %q is not a number of CPUs from 1 to %d", AnnotationProxyCPUs, v, maxCPUs)
		}
		s.cpus = n
	}
	return s, nil
}

// maxCPUs bounds GOMAXPROCS: the largest machines one can rent have fewer.
const maxCPUs = 1024

func (s *settings) parsePorts(annotations map[string]string) (err error) {
	if s.skipInbound, err = ports(AnnotationSkipInbound, annotations); err != nil {
		return err
	}
	if s.skipOutbound, err = ports(AnnotationSkipOutbound, annotations); err != nil {
		return err
	}
	// Destination reads the opaque ports, and tells the proxies; here they are only checked.
	_, err = ports(AnnotationOpaquePorts, annotations)
	return err
}

func oneOf(name, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("annotation %s: %q is not one of %s", name, value, strings.Join(allowed, ", "))
}

func ports(name string, annotations map[string]string) ([]string, error) {
	var out []string
	for _, field := range strings.Split(annotations[name], ",") {
		field = strings.TrimSpace(field)
		if field == "" {
			continue
		}
		if _, err := crd.ParsePortRange(field); err != nil {
			return nil, fmt.Errorf("annotation %s: %q: %w", name, field, err)
		}
		out = append(out, field)
	}
	return out, nil
}
