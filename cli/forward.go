package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"
)

// forward opens a way to a port of a control-plane pod, its loopback ports included. The caller
// must call stop.
func (a *app) forward(
	ctx context.Context, deployment string, port int,
) (addr string, stop func(), err error) {
	pod, err := a.meshPod(ctx, deployment)
	if err != nil {
		return "", nil, err
	}
	return a.forwardPod(ctx, pod, port)
}

// forwardPod opens a way to a port of one pod, over the API server: RBAC's pods/portforward decides
// who may.
func (a *app) forwardPod(
	ctx context.Context, pod *corev1.Pod, port int,
) (addr string, stop func(), err error) {
	dialer, err := a.podDialer(pod)
	if err != nil {
		return "", nil, err
	}
	stopped, ready := make(chan struct{}), make(chan struct{})
	fw, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"},
		[]string{":" + strconv.Itoa(port)}, stopped, ready, io.Discard, io.Discard)
	if err != nil {
		return "", nil, fmt.Errorf("forward to %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	done := make(chan error, 1)
	go func() { done <- fw.ForwardPorts() }()
	stop = func() { close(stopped); <-done }
	select {
	case <-ready:
	case err := <-done:
		return "", nil, fmt.Errorf("forward to %s/%s port %d: %w", pod.Namespace, pod.Name, port,
			err)
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

// podDialer reaches a pod over the API server by WebSocket, which HTTP proxies let through, and by
// SPDY where the API server or a proxy refuses that.
func (a *app) podDialer(pod *corev1.Pod) (httpstream.Dialer, error) {
	config, err := a.config.ToRESTConfig()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(pod.Namespace).
		Name(pod.Name).SubResource("portforward").URL()
	first, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, config)
	if err != nil {
		return nil, fmt.Errorf("make a port-forward transport: %w", err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a port-forward transport: %w", err)
	}
	second := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport},
		http.MethodPost, url)
	return portforward.NewFallbackDialerForStreaming(first, second, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	}), nil
}
