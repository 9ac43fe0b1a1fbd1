package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
)

func newUninstallCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "uninstall",
		Short: "Print what to delete to remove the control plane",
		Long: `Print everything of the control plane that the cluster holds, for 'kubectl delete -f
-': what 'meshctl install' printed, and what the servers made since (the ConfigMap tulle-trust
in every namespace, the issuer's Secret). ServiceProfiles and policies go with their CRDs.

Injected pods keep their proxies, which work on with what they know until their certificates
end: uninject and roll them first.`,
		Example: "  meshctl uninstall | kubectl delete -f -",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.uninstall(cmd.Context()) },
	}
}

// reference is all that deleting needs to know of an object.
type reference struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
	} `json:"metadata"`
}

func newReference(apiVersion, kind, namespace, name string) reference {
	r := reference{APIVersion: apiVersion, Kind: kind}
	r.Metadata.Name, r.Metadata.Namespace = name, namespace
	return r
}

func (a *app) uninstall(ctx context.Context) error {
	refs, err := a.installed()
	if err != nil {
		return err
	}
	made, err := a.madeByServers(ctx)
	if err != nil {
		return err
	}
	refs = deletionOrder(append(refs, made...))
	if len(refs) == 0 {
		fmt.Fprintln(a.ErrOut, "nothing of Tulle is installed")
	}
	var out bytes.Buffer
	for _, ref := range refs {
		text, err := yaml.Marshal(ref)
		if err != nil {
			return fmt.Errorf("print YAML: %w", err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	_, err = out.WriteTo(a.Out)
	return err
}

// deletionOrder: first the webhook, or no pod of the mesh could start; then the servers' rights, or
// identity would make its ConfigMaps anew while it ends; the namespace and the CRDs last.
func deletionOrder(refs []reference) []reference {
	rank := func(r reference) int {
		order := []string{"MutatingWebhookConfiguration", "ClusterRoleBinding", "ClusterRole",
			"RoleBinding", "Role", "Deployment"}
		if i := slices.Index(order, r.Kind); i >= 0 {
			return i
		}
		return len(order) + slices.Index([]string{"Namespace", "CustomResourceDefinition"},
			r.Kind) + 1
	}
	slices.SortStableFunc(refs, func(x, y reference) int { return rank(x) - rank(y) })
	return refs
}

// installed are the objects of `meshctl install` that the cluster has.
func (a *app) installed() ([]reference, error) {
	text, err := manifest.Render(manifest.Objects(manifest.Config{
		Injector:   injector.Config{Namespace: a.meshSpace},
		Prometheus: manifest.Prometheus{Namespace: "any"},
	}))
	if err != nil {
		return nil, err
	}
	var refs []reference
	result := resource.NewBuilder(a.config).Unstructured().ContinueOnError().Stream(
		bytes.NewReader(text), "install").Flatten().Do()
	err = result.IgnoreErrors(isAbsent).Visit(func(info *resource.Info, err error) error {
		if err == nil {
			err = info.Get()
		}
		if err != nil {
			return err
		}
		gvk := info.Mapping.GroupVersionKind
		apiVersion, kind := gvk.ToAPIVersionAndKind()
		refs = append(refs, newReference(apiVersion, kind, info.Namespace, info.Name))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for what is installed: %w", err)
	}
	return refs, nil
}

func isAbsent(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

// madeByServers are the objects that no manifest lists.
func (a *app) madeByServers(ctx context.Context) ([]reference, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	var refs []reference
	trust, err := client.CoreV1().ConfigMaps(corev1.NamespaceAll).List(
		ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + names.TrustConfigMap})
	if err != nil {
		return nil, fmt.Errorf("list ConfigMaps %s: %w", names.TrustConfigMap, err)
	}
	for _, m := range trust.Items {
		refs = append(refs, newReference("v1", "ConfigMap", m.Namespace, m.Name))
	}
	_, err = client.CoreV1().Secrets(a.meshSpace).Get(ctx, names.IssuerSecret, metav1.GetOptions{})
	if err == nil {
		refs = append(refs, newReference("v1", "Secret", a.meshSpace, names.IssuerSecret))
	} else if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("look for the issuer's Secret: %w", err)
	}
	return refs, nil
}
