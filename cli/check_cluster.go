package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	authv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
)

// minMinor is the first Kubernetes 1.x with native sidecars on by default.
const minMinor = 29

func (c *checker) checkAPI(ctx context.Context) bool {
	c.begin("kubernetes-api")
	client, dynamic, err := c.app.clients()
	if err != nil {
		c.fail("can reach the Kubernetes API", err.Error(), "kubectl config get-contexts")
		return false
	}
	c.client, c.dynamic = client, dynamic
	if _, err := client.Discovery().ServerVersion(); err != nil {
		c.fail("can reach the Kubernetes API", err.Error(), "kubectl cluster-info")
		return false
	}
	c.ok("can reach the Kubernetes API")
	c.checkVersion()
	return ctx.Err() == nil
}

func (c *checker) checkVersion() {
	check := fmt.Sprintf("Kubernetes is 1.%d or later", minMinor)
	version, err := c.client.Discovery().ServerVersion()
	if err != nil {
		c.fail(check, err.Error(), "kubectl version")
		return
	}
	minor, err := strconv.Atoi(strings.TrimRight(version.Minor, "+"))
	if err != nil || version.Major != "1" || minor < minMinor {
		c.fail(
			check, "it is "+version.GitVersion+
				"; the proxy is a native sidecar, which earlier versions start as a plain init "+
				"container and wait for without end", "upgrade the cluster")
		return
	}
	c.ok("%s (%s)", check, version.GitVersion)
}

// installing is what `kubectl apply` needs for the manifests.
var installing = []authv1.ResourceAttributes{
	{Verb: "create", Resource: "namespaces"},
	{Verb: "create", Group: "apiextensions.k8s.io", Resource: "customresourcedefinitions"},
	{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterroles"},
	{Verb: "create", Group: "rbac.authorization.k8s.io", Resource: "clusterrolebindings"},
	{Verb: "create", Group: "admissionregistration.k8s.io",
		Resource: "mutatingwebhookconfigurations"},
	{Verb: "create", Group: "apps", Resource: "deployments"},
	{Verb: "create", Resource: "services"},
	{Verb: "create", Resource: "serviceaccounts"},
}

func (c *checker) checkRights(ctx context.Context) {
	c.begin("rights")
	for _, attributes := range installing {
		check := "may create " + attributes.Resource
		review := &authv1.SelfSubjectAccessReview{}
		review.Spec.ResourceAttributes = &attributes
		answer, err := c.client.AuthorizationV1().SelfSubjectAccessReviews().Create(
			ctx, review, metav1.CreateOptions{})
		switch {
		case err != nil:
			c.fail(check, err.Error(), "kubectl auth can-i create "+attributes.Resource)
		case !answer.Status.Allowed:
			c.fail(check, "you may not: "+answer.Status.Reason,
				"ask a cluster administrator to run 'meshctl install | kubectl apply -f -'")
		default:
			c.ok("%s", check)
		}
	}
}

func (c *checker) checkAbsent(ctx context.Context) {
	c.begin("existing-installation")
	_, err := c.client.AppsV1().Deployments(c.meshSpace).Get(
		ctx, names.Identity, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		c.ok("the control plane is not installed yet")
	case err != nil:
		c.fail("can look for an installation", err.Error(),
			"kubectl -n "+c.meshSpace+" get deployments")
	default:
		c.warn("the control plane is not installed yet",
			"it is, in namespace "+c.meshSpace+": applying again upgrades it", "meshctl check")
	}
}

// checkPodSecurity warns of namespaces that ask for the proxy and refuse its init container:
// redirection needs root and NET_ADMIN, which Pod Security allows at level privileged only.
func (c *checker) checkPodSecurity(ctx context.Context) {
	c.begin("pod-security")
	namespaces, err := c.client.CoreV1().Namespaces().List(
		ctx, metav1.ListOptions{LabelSelector: names.AnnotationInject + "=enabled"})
	if err != nil {
		c.fail("can read the namespaces", err.Error(), "kubectl get namespaces")
		return
	}
	refusing := 0
	for _, ns := range namespaces.Items {
		level, ok := ns.Labels["pod-security.kubernetes.io/enforce"]
		if !ok || level == "privileged" {
			continue
		}
		refusing++
		c.fail("namespace "+ns.Name+" admits the redirection's init container",
			"its Pod Security level is "+level+
				", which refuses root with NET_ADMIN, so no injected pod can start there",
			"kubectl label namespace "+ns.Name+
				" --overwrite pod-security.kubernetes.io/enforce=privileged")
	}
	if refusing == 0 {
		c.ok("every namespace with injection admits the redirection's init container (%d)",
			len(namespaces.Items))
	}
}

// active says whether a namespace is one that pods can be made in.
func active(ns corev1.Namespace) bool { return ns.Status.Phase != corev1.NamespaceTerminating }
