package cli

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/destination/kube"
)

// callTimeout bounds one call of the API server: the user waits at the terminal.
const callTimeout = 20 * time.Second

// client reaches the cluster that the kubeconfig (or --context) names.
func (a *app) client() (kubernetes.Interface, error) {
	client, _, err := a.clients()
	return client, err
}

// clients are client, and one for kinds that it has no types for.
func (a *app) clients() (kubernetes.Interface, dynamic.Interface, error) {
	config, err := a.config.ToRESTConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("read kubeconfig: %w (see --kubeconfig and --context)", err)
	}
	config.Timeout = callTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	untyped, err := kube.Dynamic(config)
	return client, untyped, err
}

// namespace is -n, or else the kubeconfig context's own.
func (a *app) namespace() (string, error) {
	ns, _, err := a.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("read kubeconfig: %w (see --kubeconfig and --context)", err)
	}
	return ns, nil
}

// meshPod is a ready pod of a control-plane deployment.
func (a *app) meshPod(ctx context.Context, deployment string) (*corev1.Pod, error) {
	return a.meshPodBeside(ctx, deployment, "")
}

// meshPodBeside is another one than a pod that did not answer, if there is any: Kubernetes takes
// its time to say that it is not ready.
func (a *app) meshPodBeside(ctx context.Context, deployment, silent string) (*corev1.Pod, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Pods(a.meshSpace).List(
		ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + deployment})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s/%s: %w", a.meshSpace, deployment, err)
	}
	var found *corev1.Pod
	for i := range list.Items {
		if one := &list.Items[i]; podReady(one) && (found == nil || found.Name == silent) {
			found = one
		}
	}
	if found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("no ready pod of %s in namespace %s: run 'meshctl check' to see why",
		deployment, a.meshSpace)
}

func podReady(pod *corev1.Pod) bool {
	if pod.DeletionTimestamp != nil {
		return false
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
