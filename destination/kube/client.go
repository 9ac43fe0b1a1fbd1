package kube

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tulle-mesh/tulle/identity/names"
)

// Client reaches the Kubernetes API as the pod's service account, and outside a pod as KUBECONFIG
// says. The config is for clients of other kinds, which are JSON only.
func Client() (kubernetes.Interface, *rest.Config, error) {
	cfg, err := load()
	if err != nil {
		return nil, nil, fmt.Errorf("find the Kubernetes API: %w (run in a pod, or set KUBECONFIG)",
			err)
	}
	// The API server's own priority and fairness decides. client-go's default of 5 calls a second
	// would make 10,000 proxies that start together wait half an hour for their TokenReviews.
	cfg.QPS = -1
	cfg.UserAgent = names.Mesh
	typed := rest.CopyConfig(cfg)
	typed.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	typed.ContentType = runtime.ContentTypeProtobuf
	client, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return client, cfg, nil
}

// Dynamic makes a client for kinds that have no typed one: ours.
func Dynamic(cfg *rest.Config) (dynamic.Interface, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic Kubernetes client: %w", err)
	}
	return client, nil
}

func load() (*rest.Config, error) {
	cfg, err := rest.InClusterConfig()
	if !errors.Is(err, rest.ErrNotInCluster) {
		return cfg, err
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}
