package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// maxNamed bounds how many pods a finding names.
const maxNamed = 10

// checkProxies looks at the data plane: proxies that are not ready, or of another version, and pods
// that should have one.
func (c *checker) checkProxies(ctx context.Context) {
	c.begin("data-plane")
	pods, err := c.client.CoreV1().Pods("").List(
		ctx, metav1.ListOptions{LabelSelector: names.LabelMesh})
	if err != nil {
		c.fail("can read the meshed pods", err.Error(), "kubectl get pods -A -l "+names.LabelMesh)
		return
	}
	var unready, other []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		if finished(pod) {
			continue
		}
		name := pod.Namespace + "/" + pod.Name
		if !proxyReady(pod) {
			unready = append(unready, strings.TrimSuffix(name+": "+podProblem(pod), ": "))
		}
		if v := pod.Annotations[names.AnnotationInjected]; v != c.version {
			other = append(other, name+" ("+v+")")
		}
	}
	c.listed("every proxy is ready", broken, unready, len(pods.Items),
		"kubectl logs POD -c "+names.ProxyContainer)
	c.listed("every proxy has this meshctl's version", warning, other, len(pods.Items),
		"kubectl rollout restart of their workloads")
	c.checkUnmeshed(ctx)
}

// checkRoom asks viz whether anything is not counted under its own name. Whoever may not ask, or
// finds no viz, is not told: other checks say that viz is not there.
func (c *checker) checkRoom(ctx context.Context) {
	link, err := (&vizApp{app: c.app}).forwarded(ctx, "")
	if err != nil {
		return
	}
	defer link.close()
	stat, err := link.current().Stat(ctx, viz.Query{Resource: "pod"})
	if err != nil {
		return
	}
	c.listed("every proxy has room for what it counts", warning, crowded(stat.Rows),
		len(stat.Rows), "meshctl viz edges pod -A: who calls so many others?")
}

// checkReporting asks viz what the proxies say of themselves: what they hold of destination's
// words, and what version really runs, whatever injected it.
func (c *checker) checkReporting(ctx context.Context) {
	const check = "every proxy's configuration is current"
	addr, stop, err := c.forward(ctx, names.Viz, config.VizQueryPort)
	if err != nil {
		c.warn(check, "viz cannot be asked: "+err.Error(), "kubectl -n "+c.meshSpace+
			" logs deploy/"+names.Viz)
		return
	}
	defer stop()
	all, err := viz.NewClient(addr).Proxies(ctx, viz.Query{})
	if err != nil {
		c.warn(check, err.Error(), "kubectl -n "+c.meshSpace+" logs deploy/"+names.Viz)
		return
	}
	stale, versions := standing(all.Rows)
	c.listed(check, warning, stale, len(all.Rows), "kubectl logs POD -c "+names.ProxyContainer+
		", and see why it does not reach destination")
	if len(versions) > 1 {
		c.warn("all proxies are of one version", strings.Join(versions, ", "),
			"kubectl rollout restart of the workloads that are behind")
	}
}

// standing names the proxies that have been without destination for long, and counts those of each
// version.
func standing(rows []viz.ProxyRow) (stale, versions []string) {
	count := map[string]int{}
	for i := range rows {
		r := &rows[i]
		count[r.Version]++
		if r.ConfigStale {
			stale = append(stale, fmt.Sprintf("%s/%s: without destination for %s", r.Namespace,
				r.Pod, ago(r.ConfigAgeSeconds)))
		}
	}
	for _, v := range slices.Sorted(maps.Keys(count)) {
		versions = append(versions, fmt.Sprintf("%s (%d)", cmp.Or(v, "unknown"), count[v]))
	}
	return stale, versions
}

func (c *checker) listed(check string, v verdict, bad []string, total int, next string) {
	if len(bad) == 0 {
		c.ok("%s (%d)", check, total)
		return
	}
	cause := strings.Join(bad[:min(len(bad), maxNamed)], "\n")
	if more := len(bad) - maxNamed; more > 0 {
		cause += fmt.Sprintf("\nand %d more", more)
	}
	c.add(finding{check, v, cause, next})
}

func finished(pod *corev1.Pod) bool {
	return pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded ||
		pod.Status.Phase == corev1.PodFailed
}

func proxyReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(slices.Concat(
		pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
		func(s corev1.ContainerStatus) bool {
			return s.Name == names.ProxyContainer && s.Ready
		})
}

// checkUnmeshed finds pods without a proxy where injection is on: they started before it was, or
// were skipped.
func (c *checker) checkUnmeshed(ctx context.Context) {
	const check = "every pod has a proxy where injection is on"
	namespaces, err := c.client.CoreV1().Namespaces().List(
		ctx, metav1.ListOptions{LabelSelector: names.AnnotationInject})
	if err != nil {
		c.fail(check, err.Error(), "kubectl get namespaces")
		return
	}
	on := c.enabled(namespaces.Items)
	var bare []string
	for _, ns := range on {
		pods, err := c.client.CoreV1().Pods(ns).List(
			ctx, metav1.ListOptions{LabelSelector: "!" + names.LabelMesh})
		if err != nil {
			c.fail(check, err.Error(), "kubectl -n "+ns+" get pods")
			return
		}
		for i := range pods.Items {
			if why := unmeshed(&pods.Items[i]); why != "" {
				bare = append(bare, ns+"/"+pods.Items[i].Name+": "+why)
			}
		}
	}
	c.listed(check, warning, bare, len(on),
		"kubectl rollout restart of their workloads, where nothing else is said")
}

// enabled names the namespaces where injection is on. The API server, which selects them, knows one
// word for that, so any other is warned of.
func (c *checker) enabled(labelled []corev1.Namespace) (on []string) {
	var other []string
	for _, ns := range labelled {
		switch word := ns.Labels[names.AnnotationInject]; word {
		case "enabled":
			on = append(on, ns.Name)
		case "disabled":
		default:
			other = append(other, fmt.Sprintf("%s: %q", ns.Name, word))
		}
	}
	c.listed("every namespace's label "+names.AnnotationInject+" is enabled or disabled", warning,
		other, len(labelled),
		"kubectl label namespace NAME --overwrite "+names.AnnotationInject+"=enabled")
	return on
}

// unmeshed says why a pod has no proxy; "" if it is not meant to have one.
func unmeshed(pod *corev1.Pod) string {
	if finished(pod) {
		return ""
	}
	_, reason, err := injector.Plan(injector.Config{},
		corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec}, nil)
	switch {
	case reason == injector.Disabled:
		return ""
	case err != nil:
		return err.Error()
	case reason != "":
		return string(reason)
	}
	return "it was made before injection was on"
}
