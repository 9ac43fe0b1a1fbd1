package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// controlPlane are the servers and the ports of which their certificates are looked at.
var controlPlane = []struct {
	name string
	port int
}{
	{names.Identity, config.IdentityPort}, {names.Destination, config.DestinationPort},
	{names.Injector, config.InjectorPort}, {names.Viz, config.VizPort},
}

// expirySoon is when a root's end becomes a warning: a rotation takes planning. Linkerd's check
// warns at the same.
const expirySoon = 60 * 24 * time.Hour

func (c *checker) checkInstalled(ctx context.Context) bool {
	c.begin("installation")
	_, err := c.client.CoreV1().Namespaces().Get(ctx, c.meshSpace, metav1.GetOptions{})
	if err != nil {
		c.fail("namespace "+c.meshSpace+" is there", err.Error(),
			"meshctl install | kubectl apply -f -")
		return false
	}
	c.ok("namespace %s is there", c.meshSpace)
	c.checkKinds()
	return true
}

// checkKinds looks for the kinds that are the mesh's.
func (c *checker) checkKinds() {
	const check = "the API server knows the mesh's kinds"
	list, err := c.client.Discovery().ServerResourcesForGroupVersion(crd.APIVersion)
	for _, resource := range []string{
		crd.Resource, crd.BackendTrafficPolicies, crd.RateLimitPolicies, crd.FaultInjections,
		crd.TelemetryPolicies, crd.ServiceLevelObjectives, crd.TapSessions,
		crd.ClusterTapSessions,
	} {
		if err != nil || !slices.ContainsFunc(list.APIResources, func(r metav1.APIResource) bool {
			return r.Name == resource
		}) {
			c.fail(check, fmt.Sprintf("it does not serve %s of %s: %v", resource, crd.APIVersion,
				err), "meshctl install --crds | kubectl apply -f -")
			return
		}
	}
	c.ok(check)
}

func (c *checker) checkControlPlane(ctx context.Context) {
	c.begin("control-plane")
	for _, server := range controlPlane {
		check := server.name + " is ready"
		d, err := c.client.AppsV1().Deployments(c.meshSpace).Get(
			ctx, server.name, metav1.GetOptions{})
		if err != nil {
			c.fail(check, err.Error(), "meshctl install | kubectl apply -f -")
			continue
		}
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		if d.Status.ReadyReplicas == 0 || d.Status.ReadyReplicas < want {
			c.fail(check, fmt.Sprintf("%d of %d pods are ready%s", d.Status.ReadyReplicas, want,
				c.whyNotReady(ctx, server.name)),
				"kubectl -n "+c.meshSpace+" describe pods -l app.kubernetes.io/name="+server.name)
			continue
		}
		c.ok("%s (%d of %d pods)", check, d.Status.ReadyReplicas, want)
		if v := imageTag(d.Spec.Template.Spec.Containers); v != c.version {
			c.warn(server.name+" has this meshctl's version", "it is "+v+", meshctl is "+c.version,
				"meshctl install | kubectl apply -f -")
		}
	}
}

// whyNotReady is what the pods themselves say.
func (c *checker) whyNotReady(ctx context.Context, name string) string {
	pods, err := c.client.CoreV1().Pods(c.meshSpace).List(
		ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + name})
	if err != nil {
		return ""
	}
	for i := range pods.Items {
		if reason := podProblem(&pods.Items[i]); reason != "" {
			return ": " + pods.Items[i].Name + ": " + reason
		}
	}
	return ""
}

// podProblem is why a pod is not ready, as its status has it.
func podProblem(pod *corev1.Pod) string {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses,
		pod.Status.ContainerStatuses) {
		switch {
		case s.State.Waiting != nil && s.State.Waiting.Reason != "PodInitializing":
			return strings.TrimSpace(s.Name + " waits: " + s.State.Waiting.Reason + " " +
				s.State.Waiting.Message)
		case s.State.Terminated != nil && s.State.Terminated.ExitCode != 0:
			return fmt.Sprintf("%s ended with %d: %s", s.Name, s.State.Terminated.ExitCode,
				strings.TrimSpace(s.State.Terminated.Message))
		case s.State.Running != nil && !s.Ready:
			return s.Name + " runs and is not ready"
		}
	}
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodScheduled && cond.Status == corev1.ConditionFalse {
			return "not scheduled: " + cond.Message
		}
	}
	return ""
}

func imageTag(containers []corev1.Container) string {
	if len(containers) == 0 {
		return ""
	}
	image := containers[0].Image
	return image[strings.LastIndex(image, ":")+1:]
}

// roots are those that the control plane publishes.
func (c *checker) roots(ctx context.Context) ([]*x509.Certificate, string, error) {
	m, err := c.client.CoreV1().ConfigMaps(c.meshSpace).Get(
		ctx, names.TrustConfigMap, metav1.GetOptions{})
	if err != nil {
		return nil, "", err
	}
	roots, err := spiffe.ParseRoots([]byte(m.Data["ca.crt"]))
	return roots, m.Data["ca.crt"], err
}

func (c *checker) checkIdentity(ctx context.Context) {
	c.begin("identity")
	roots, text, err := c.roots(ctx)
	if err != nil {
		c.fail("the trust roots are published", err.Error(),
			"kubectl -n "+c.meshSpace+" logs deploy/tulle-identity")
		return
	}
	c.ok("the trust roots are published")
	for _, root := range roots {
		c.checkExpiry("trust root "+root.Subject.CommonName, root)
	}
	c.checkTrustEverywhere(ctx, text)
	for _, server := range controlPlane {
		c.checkCertificate(ctx, server.name, server.port, roots)
	}
}

func (c *checker) checkExpiry(what string, cert *x509.Certificate) {
	left := time.Until(cert.NotAfter)
	end := cert.NotAfter.UTC().Format(time.RFC3339)
	switch {
	case left <= 0:
		c.fail(what+" is valid", "it expired at "+end,
			"store a new issuer in the Secret tulle-identity-issuer, its root in ca.crt")
	case left < expirySoon:
		c.warn(what+" lasts", fmt.Sprintf("it ends at %s, in %s", end, left.Round(time.Hour)),
			"put the next root beside it into ca.crt of the Secret tulle-identity-issuer, then "+
				"change the issuer")
	default:
		c.ok("%s is valid until %s", what, end)
	}
}

func (c *checker) checkTrustEverywhere(ctx context.Context, want string) {
	const check = "every namespace has the trust roots"
	namespaces, err := c.client.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		c.fail(check, err.Error(), "kubectl get namespaces")
		return
	}
	maps, err := c.client.CoreV1().ConfigMaps("").List(
		ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + names.TrustConfigMap})
	if err != nil {
		c.fail(check, err.Error(), "kubectl get configmaps -A --field-selector metadata.name="+
			names.TrustConfigMap)
		return
	}
	current := map[string]bool{}
	for _, m := range maps.Items {
		current[m.Namespace] = m.Data["ca.crt"] == want
	}
	var missing []string
	for _, ns := range namespaces.Items {
		if active(ns) && !current[ns.Name] {
			missing = append(missing, ns.Name)
		}
	}
	if len(missing) > 0 {
		c.fail(check, "missing or old in: "+strings.Join(missing, ", "),
			"kubectl -n "+c.meshSpace+" logs deploy/tulle-identity")
		return
	}
	c.ok("%s (%d)", check, len(current))
}

// checkCertificate shakes hands with a server and looks at what it shows.
func (c *checker) checkCertificate(
	ctx context.Context, name string, port int, roots []*x509.Certificate,
) {
	check := name + " has a valid certificate"
	pod, err := c.meshPod(ctx, name)
	if err != nil {
		c.fail(check, err.Error(), "kubectl -n "+c.meshSpace+" get pods")
		return
	}
	chain, err := c.servedChain(ctx, pod, port, "")
	if err == nil {
		err = verifyChain(chain, roots, c.meshSpace, name)
	}
	if err != nil {
		c.fail(check, err.Error(), "kubectl -n "+c.meshSpace+" logs deploy/"+name)
		return
	}
	c.ok("%s until %s", check, chain[0].NotAfter.UTC().Format(time.RFC3339))
}

func (c *checker) checkWebhook(ctx context.Context) {
	c.begin("webhook")
	hooks, err := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(
		ctx, injector.WebhookName, metav1.GetOptions{})
	if err != nil {
		cause := err.Error()
		if apierrors.IsNotFound(err) {
			cause = "there is none: namespaces with injection start their pods without a proxy"
		}
		c.fail("the webhook is configured", cause, "meshctl install | kubectl apply -f -")
		return
	}
	c.ok("the webhook is configured")
	c.checkBundle(ctx, hooks)
	c.checkServed(ctx, hooks)
}

func (c *checker) checkBundle(
	ctx context.Context, hooks *admissionv1.MutatingWebhookConfiguration,
) {
	const check = "the webhook's caBundle holds the trust roots"
	want, _, err := c.roots(ctx)
	if err != nil {
		c.fail(check, err.Error(), "kubectl -n "+c.meshSpace+" get configmap "+names.TrustConfigMap)
		return
	}
	for _, hook := range hooks.Webhooks {
		got, err := spiffe.ParseRoots(hook.ClientConfig.CABundle)
		if err != nil || !sameCertificates(got, want) {
			c.fail(
				check,
				"that of "+hook.Name+
					" does not: the API server will refuse every pod that asks for the mesh",
				"kubectl -n "+c.meshSpace+" logs deploy/tulle-injector")
			return
		}
	}
	c.ok(check)
}

func sameCertificates(a, b []*x509.Certificate) bool {
	raw := func(certs []*x509.Certificate) [][]byte {
		var out [][]byte
		for _, cert := range certs {
			out = append(out, cert.Raw)
		}
		slices.SortFunc(out, bytes.Compare)
		return out
	}
	return slices.EqualFunc(raw(a), raw(b), bytes.Equal)
}

// checkServed verifies the injector as the API server does: by the Service's name, with the
// caBundle.
func (c *checker) checkServed(
	ctx context.Context, hooks *admissionv1.MutatingWebhookConfiguration,
) {
	const check = "the API server can verify the webhook"
	if len(hooks.Webhooks) == 0 {
		c.fail(check, "the configuration holds no webhook", "meshctl install | kubectl apply -f -")
		return
	}
	next := "kubectl -n " + c.meshSpace + " logs deploy/" + names.Injector
	pod, err := c.meshPod(ctx, names.Injector)
	if err != nil {
		c.fail(check, err.Error(), next)
		return
	}
	chain, err := c.servedChain(ctx, pod, config.InjectorPort, "")
	if err != nil {
		c.fail(check, err.Error(), next)
		return
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(hooks.Webhooks[0].ClientConfig.CABundle)
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	name := "tulle-injector." + c.meshSpace + ".svc"
	if _, err := chain[0].Verify(
		x509.VerifyOptions{Roots: pool, Intermediates: between, DNSName: name}); err != nil {
		c.fail(check, err.Error(), next)
		return
	}
	c.ok(check)
}
