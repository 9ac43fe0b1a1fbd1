package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity/names"
)

// workloadPods are the running pods that POD, pod/NAME, deploy/NAME and the like mean.
func (a *app) workloadPods(ctx context.Context, resource string) ([]corev1.Pod, error) {
	ns, err := a.namespace()
	if err != nil {
		return nil, err
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	kind, name, ok := strings.Cut(resource, "/")
	if !ok {
		kind, name = "pod", resource
	}
	if slices.Contains([]string{"pod", "pods", "po"}, kind) {
		pod, err := client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("read pod %s/%s: %w", ns, name, err)
		}
		return []corev1.Pod{*pod}, nil
	}
	selector, err := workloadSelector(ctx, client, ns, kind, name)
	if err != nil {
		return nil, err
	}
	return runningPods(ctx, client, ns, selector, resource)
}

func runningPods(
	ctx context.Context, client kubernetes.Interface, ns, selector, resource string,
) ([]corev1.Pod, error) {
	list, err := client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s in %s: %w", resource, ns, err)
	}
	pods := slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return finished(&p) })
	if len(pods) == 0 {
		return nil, fmt.Errorf("%s in namespace %s has no running pod", resource, ns)
	}
	return pods, nil
}

// workloadSelector is how a workload or a Service finds its pods.
func workloadSelector(
	ctx context.Context, client kubernetes.Interface, ns, kind, name string,
) (string, error) {
	selector, err := selectorOf(ctx, client, ns, kind, name)
	if err != nil {
		return "", fmt.Errorf("read %s/%s in %s: %w", kind, name, ns, err)
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		return "", fmt.Errorf("selector of %s/%s: %w", kind, name, err)
	}
	if s.Empty() {
		return "", fmt.Errorf("%s/%s selects no pods", kind, name)
	}
	return s.String(), nil
}

func selectorOf(
	ctx context.Context, client kubernetes.Interface, ns, kind, name string,
) (*metav1.LabelSelector, error) {
	get := metav1.GetOptions{}
	switch kind {
	case "deploy", "deployment", "deployments":
		o, err := client.AppsV1().Deployments(ns).Get(ctx, name, get)
		return o.Spec.Selector, err
	case "sts", "statefulset", "statefulsets":
		o, err := client.AppsV1().StatefulSets(ns).Get(ctx, name, get)
		return o.Spec.Selector, err
	case "ds", "daemonset", "daemonsets":
		o, err := client.AppsV1().DaemonSets(ns).Get(ctx, name, get)
		return o.Spec.Selector, err
	case "rs", "replicaset", "replicasets":
		o, err := client.AppsV1().ReplicaSets(ns).Get(ctx, name, get)
		return o.Spec.Selector, err
	case "job", "jobs":
		o, err := client.BatchV1().Jobs(ns).Get(ctx, name, get)
		return o.Spec.Selector, err
	case "svc", "service", "services":
		o, err := client.CoreV1().Services(ns).Get(ctx, name, get)
		return metav1.SetAsLabelSelector(labels.Set(o.Spec.Selector)), err
	}
	return nil, fmt.Errorf("unknown kind %q: use pod, deploy, sts, ds, rs, job or svc", kind)
}

// completePods offers the names of meshed pods to the shell.
func (a *app) completePods(
	cmd *cobra.Command, _ []string, _ string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	ns, err := a.namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	client, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	list, err := client.CoreV1().Pods(ns).List(
		cmd.Context(), metav1.ListOptions{LabelSelector: names.LabelMesh})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for _, pod := range list.Items {
		names = append(names, pod.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
