package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// forgetEvery is how often the fake API server drops what it remembers of calls.
const forgetEvery = 100 * time.Millisecond

func (s *server) identity(ctx context.Context) error {
	client := fake.NewClientset(&corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{Name: names.Namespace}})
	client.PrependReactor("create", "tokenreviews", believe)
	addr := loopback.Free()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return identity.Run(ctx, identity.Config{Client: client, Listen: addr,
			HealthListen: loopback.Free(), Log: childLog})
	})
	group.Go(func() error { return forget(ctx, client) })
	roots, err := awaitRoots(ctx, client)
	if err != nil {
		cancel()
		return fmt.Errorf("await the roots: %w: %w", err, group.Wait())
	}
	// identity listens before it says whom to trust
	return s.during(ctx, listening{Addr: addr, Roots: roots}, nil,
		func(serving context.Context) error {
			select {
			case <-serving.Done():
			case <-ctx.Done(): // identity has failed
			}
			cancel()
			return group.Wait()
		})
}

// awaitRoots waits for the ConfigMap that identity keeps.
func awaitRoots(ctx context.Context, client kubernetes.Interface) (string, error) {
	watch, err := client.CoreV1().ConfigMaps(names.Namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	defer watch.Stop()
	m, err := client.CoreV1().ConfigMaps(names.Namespace).Get(ctx, names.TrustConfigMap,
		metav1.GetOptions{})
	for err != nil || len(m.Data) == 0 {
		select {
		case e := <-watch.ResultChan():
			if seen, ok := e.Object.(*corev1.ConfigMap); ok && seen.Name == names.TrustConfigMap {
				m, err = seen, nil
			}
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	var roots strings.Builder
	for _, text := range m.Data {
		roots.WriteString(text)
	}
	return roots.String(), nil
}

// forget clears what a fake remembers of every call: an API server is not in identity's memory.
func forget(ctx context.Context, client *fake.Clientset) error {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			client.ClearActions()
		case <-ctx.Done():
			return nil
		}
	}
}

// tokenOf is what the fake API server takes for a pod's token.
func tokenOf(namespace, account, pod string) string {
	return namespace + "/" + account + "/" + pod
}

// believe takes a token at its word.
func believe(a clienttesting.Action) (bool, runtime.Object, error) {
	review := a.(clienttesting.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
	part := strings.Split(review.Spec.Token, "/")
	if len(part) != 3 {
		return true, review, nil
	}
	const pod = "authentication.kubernetes.io/pod-"
	review.Status = authentication.TokenReviewStatus{
		Authenticated: true, Audiences: review.Spec.Audiences,
		User: authentication.UserInfo{
			Username: "system:serviceaccount:" + part[0] + ":" + part[1],
			Extra: map[string]authentication.ExtraValue{
				pod + "name": {part[2]}, pod + "uid": {"1"},
			}},
	}
	return true, review, nil
}
