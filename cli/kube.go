package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	//lint:ignore SA1019 client-go's portforward takes no other
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// callTimeout bounds one call of the API server: somebody sits before the terminal.
const callTimeout = 20 * time.Second

// client reaches the cluster that the kubeconfig (or --context) names.
func (a *app) client() (kubernetes.Interface, error) {
	config, err := a.config.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w (see --kubeconfig and --context)", err)
	}
	config.Timeout = callTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return client, nil
}

// namespace is -n, or else the kubeconfig context's own.
func (a *app) namespace() (string, error) {
	ns, _, err := a.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("read kubeconfig: %w (see --kubeconfig and --context)", err)
	}
	return ns, nil
}

// forward opens a way to a port of a control-plane pod, its loopback ports included. The caller must call stop.
func (a *app) forward(ctx context.Context, deployment string, port int) (addr string, stop func(), err error) {
	pod, err := a.meshPod(ctx, deployment)
	if err != nil {
		return "", nil, err
	}
	return a.forwardPod(ctx, pod, port)
}

// meshPod is a ready pod of a control-plane deployment.
func (a *app) meshPod(ctx context.Context, deployment string) (*corev1.Pod, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	list, err := client.CoreV1().Pods(a.meshSpace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + deployment})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s/%s: %w", a.meshSpace, deployment, err)
	}
	for i := range list.Items {
		if podReady(&list.Items[i]) {
			return &list.Items[i], nil
		}
	}
	return nil, fmt.Errorf("no ready pod of %s in namespace %s: run 'meshctl check' to see why", deployment, a.meshSpace)
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

// forwardPod opens a way to a port of one pod, over the API server: RBAC's pods/portforward decides who may.
func (a *app) forwardPod(ctx context.Context, pod *corev1.Pod, port int) (addr string, stop func(), err error) {
	dialer, err := a.podDialer(pod)
	if err != nil {
		return "", nil, err
	}
	stopped, ready := make(chan struct{}), make(chan struct{})
	fw, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{":" + strconv.Itoa(port)}, stopped, ready, io.Discard, io.Discard)
	if err != nil {
		return "", nil, fmt.Errorf("forward to %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	done := make(chan error, 1)
	go func() { done <- fw.ForwardPorts() }()
	stop = func() { close(stopped); <-done }
	select {
	case <-ready:
	case err := <-done:
		return "", nil, fmt.Errorf("forward to %s/%s port %d: %w", pod.Namespace, pod.Name, port, err)
	case <-ctx.Done():
		stop()
		return "", nil, ctx.Err()
	}
	ports, err := fw.GetPorts()
	if err != nil {
		stop()
		return "", nil, fmt.Errorf("forward to %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), stop, nil
}

func (a *app) podDialer(pod *corev1.Pod) (httpstream.Dialer, error) {
	config, err := a.config.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a port-forward transport: %w", err)
	}
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("portforward").URL()
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url), nil
}
