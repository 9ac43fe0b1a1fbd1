package injector

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/identity/names"
)

// annotationKeys remembers what InjectText had to create or replace around its additions, so that
// UninjectText can undo it.
const annotationKeys = names.Prefix + "injected-keys"

const (
	enabled  = "enabled"
	disabled = "disabled"
)

// injection reads what a label or an annotation says of it, in the words of switches too: what was
// meant to keep a pod out of the mesh, or in it, must not do the contrary. "" is no word.
func injection(value string) (string, error) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "":
		return "", nil
	case enabled, "true":
		return enabled, nil
	case disabled, "false":
		return disabled, nil
	}
	return "", fmt.Errorf("%s: %q is not one of %s, %s", names.AnnotationInject, value, enabled,
		disabled)
}

// optedOut says whether a pod's own annotation or label keeps it out of the mesh.
func optedOut(pod corev1.PodTemplateSpec) (bool, error) {
	annotation, err := injection(pod.Annotations[names.AnnotationInject])
	if err != nil {
		return false, fmt.Errorf("annotation %w", err)
	}
	label, err := injection(pod.Labels[names.AnnotationInject])
	if err != nil {
		return false, fmt.Errorf("label %w", err)
	}
	return annotation == disabled || label == disabled, nil
}

// inherited are the annotations that a pod takes from its namespace when it is injected, since they
// are about its containers. They are written on the pod, so that it says what it was made of.
var inherited = []string{
	names.AnnotationSkipInbound, names.AnnotationSkipOutbound, names.AnnotationProxyCPUs,
	names.AnnotationProxyImage, names.AnnotationTrustedProxies,
	names.AnnotationProxyCPURequest, names.AnnotationProxyCPULimit,
	names.AnnotationProxyMemoryRequest, names.AnnotationProxyMemoryLimit,
}

// live are the annotations that destination reads on a pod, or else on its namespace, for as long
// as the pod runs. They are only checked: a copy on the pod would hide the namespace's next change.
var live = []string{
	names.AnnotationMode, names.AnnotationOpaquePorts, names.AnnotationLogLevel,
	names.AnnotationAccessLog, names.AnnotationTraceSampling,
}

// nearest are those annotations, out of a list, that count for a pod: its own, or else its
// namespace's.
func nearest(list []string, pod, namespace map[string]string) map[string]string {
	out := map[string]string{}
	for _, name := range list {
		if value, ok := pod[name]; ok {
			out[name] = value
		} else if value, ok := namespace[name]; ok {
			out[name] = value
		}
	}
	return out
}

// settings are a pod's annotations, checked.
type settings struct {
	mode         string
	skipInbound  []string
	skipOutbound []string
	trusted      []string // networks
	cpus         int
	image        string
	logLevel     string
	resources    corev1.ResourceRequirements // of both containers
}

// parseSettings refuses what it does not understand: a typo in `mode: strict` must not leave a
// workload open.
func (c Config) parseSettings(
	annotations map[string]string, pod corev1.PodTemplateSpec,
) (settings, error) {
	s := settings{mode: annotations[names.AnnotationMode],
		image:    annotations[names.AnnotationProxyImage],
		logLevel: annotations[names.AnnotationLogLevel], cpus: 1}
	if err := oneOf(names.AnnotationMode, s.mode, "strict", "permissive"); err != nil {
		return s, err
	}
	if err := oneOf(names.AnnotationLogLevel, s.logLevel, "debug", "info", "warn",
		"error"); err != nil {
		return s, err
	}
	// Destination reads it, and tells the proxies.
	if err := oneOf(names.AnnotationAccessLog, annotations[names.AnnotationAccessLog], "none",
		"json", "text"); err != nil {
		return s, err
	}
	if text, ok := annotations[names.AnnotationTraceSampling]; ok {
		if _, _, err := crd.ParseSampling(text); err != nil {
			return s, fmt.Errorf("annotation %s: %w", names.AnnotationTraceSampling, err)
		}
	}
	if err := s.parsePorts(annotations, pod); err != nil {
		return s, err
	}
	var err error
	if s.trusted, err = networks(names.AnnotationTrustedProxies, annotations); err != nil {
		return s, err
	}
	if v, ok := annotations[names.AnnotationProxyCPUs]; ok {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > maxCPUs {
			return s, fmt.Errorf("annotation %s: %q is not a number of CPUs from 1 to %d",
				names.AnnotationProxyCPUs, v, maxCPUs)
		}
		s.cpus = n
	}
	if s.resources, err = annotated(annotations).or(c.Resources).requirements(); err != nil {
		return s, fmt.Errorf("annotation %s%w", names.Prefix, err)
	}
	return s, nil
}

// maxCPUs bounds GOMAXPROCS: the largest machines one can rent have fewer.
const maxCPUs = 1024

func (s *settings) parsePorts(
	annotations map[string]string, pod corev1.PodTemplateSpec,
) (err error) {
	if s.skipInbound, err = ports(names.AnnotationSkipInbound, annotations, pod); err != nil {
		return err
	}
	if s.skipOutbound, err = ports(names.AnnotationSkipOutbound, annotations, pod); err != nil {
		return err
	}
	// Destination reads the opaque ports, and tells the proxies; here they are only checked.
	_, err = ports(names.AnnotationOpaquePorts, annotations, pod)
	return err
}

func oneOf(name, value string, allowed ...string) error {
	if value == "" || slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("annotation %s: %q is not one of %s", name, value,
		strings.Join(allowed, ", "))
}

// networks are CIDRs, separated by commas.
func networks(name string, annotations map[string]string) (out []string, err error) {
	for field := range strings.SplitSeq(annotations[name], ",") {
		if field = strings.TrimSpace(field); field == "" {
			continue
		}
		if _, err := netip.ParsePrefix(field); err != nil {
			return nil, fmt.Errorf("annotation %s: %q is not a network such as 10.0.0.0/8", name,
				field)
		}
		out = append(out, field)
	}
	return out, nil
}

// ports are the numbers and ranges that an annotation stands for in a pod. A name that the pod's
// own annotation says must be one of its containers'; its namespace's is about those pods that have
// it.
func ports(
	name string, annotations map[string]string, pod corev1.PodTemplateSpec,
) ([]string, error) {
	var out []string
	_, own := pod.Annotations[name]
	named := kube.Workload(pod.Spec).Port
	for item, err := range crd.Ports(annotations[name]) {
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %w", name, err)
		}
		r, found := item.Range(named)
		switch {
		case found:
			out = append(out, r.String())
		case own:
			return nil, fmt.Errorf(
				"annotation %s: no container has a TCP port %q: name it in ports", name, item.Name)
		}
	}
	return out, nil
}
