package cli

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// shownIdentity is what a proxy's certificate says.
type shownIdentity struct {
	Pod       string    `json:"pod"`
	ID        string    `json:"id"`
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	Serial    string    `json:"serial"`
	Trusted   bool      `json:"trusted"` // the mesh's roots vouch for it
	Problem   string    `json:"problem,omitempty"`
}

func newIdentityCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "identity POD | KIND/NAME ...",
		Short: "Show the certificate that a pod's proxy shows its peers",
		Long: `Show a pod's SVID as its peers see it: its SPIFFE ID, its issuer, when it ends, and
whether the mesh's roots vouch for it.

The certificate is taken from a TLS handshake with the proxy, through a port-forward. Ends with
3 if one is not valid.`,
		Example: "  meshctl identity web-6f7d9c-x2x4z\n" +
			"  meshctl identity deploy/web -n shop -o json",
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completePods,
	}
	out := addOutput(cmd, "table", "wide", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		return a.identities(cmd.Context(), args, out)
	}
	return cmd
}

func (a *app) identities(ctx context.Context, args []string, out *output) error {
	roots, err := a.meshRoots(ctx)
	if err != nil {
		return err
	}
	var found []shownIdentity
	bad := Findings(0)
	for _, arg := range args {
		pods, err := a.workloadPods(ctx, arg)
		if err != nil {
			return err
		}
		for i := range pods {
			if err := meshedPod(&pods[i]); err != nil {
				return err
			}
			chain, err := a.servedChain(ctx, &pods[i], config.InboundPort, anyPort(&pods[i]))
			if err != nil {
				return fmt.Errorf("%w\nIs it ready? 'kubectl -n %s get pod %s' tells", err,
					pods[i].Namespace, pods[i].Name)
			}
			one := describe(&pods[i], chain, roots)
			if found = append(found, one); !one.Trusted {
				bad++
			}
		}
	}
	err = out.print(a.Out, found, func(w io.Writer) error {
		return drawIdentities(w, found, out.wide())
	})
	return errors.Join(err, asError(bad))
}

// meshedPod refuses pods that nothing would answer for.
func meshedPod(pod *corev1.Pod) error {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == names.ProxyContainer {
			return nil
		}
	}
	return fmt.Errorf(
		"%s/%s has no proxy: inject its workload ('meshctl inject'), or label its namespace "+
			"%s=enabled and restart it",
		pod.Namespace, pod.Name, names.AnnotationInject)
}

// meshRoots are the roots in the control plane's own namespace.
func (a *app) meshRoots(ctx context.Context) ([]*x509.Certificate, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	m, err := client.CoreV1().ConfigMaps(a.meshSpace).Get(
		ctx, names.TrustConfigMap, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf(
			"read the trust roots: %w (is the control plane installed? 'meshctl check' tells)", err)
	}
	roots, err := spiffe.ParseRoots([]byte(m.Data["ca.crt"]))
	if err != nil {
		return nil, fmt.Errorf("ConfigMap %s/%s: %w", a.meshSpace, names.TrustConfigMap, err)
	}
	return roots, nil
}

// anyPort is a server name that a proxy takes for the mesh's: the target port of a peer's call.
func anyPort(pod *corev1.Pod) string {
	port := int32(80)
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			port = p.ContainerPort
		}
	}
	return fmt.Sprintf("%d%s", port, config.SNISuffix)
}

func describe(pod *corev1.Pod, chain, roots []*x509.Certificate) shownIdentity {
	leaf := chain[0]
	one := shownIdentity{
		Pod: pod.Namespace + "/" + pod.Name, Issuer: leaf.Issuer.String(),
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(),
		Serial: fmt.Sprintf("%x", leaf.SerialNumber),
	}
	if len(leaf.URIs) > 0 {
		one.ID = leaf.URIs[0].String()
	}
	if err := vouched(chain, roots); err != nil {
		one.Problem = err.Error()
	}
	one.Trusted = one.Problem == ""
	return one
}

func vouched(chain, roots []*x509.Certificate) error {
	if len(chain[0].URIs) != 1 {
		return errors.New("the certificate holds no SPIFFE ID")
	}
	id, err := spiffe.ParseWorkload(chain[0].URIs[0].String())
	if err != nil {
		return err
	}
	_, err = spiffe.Verify(chain, x509bundle.FromX509Authorities(id.TrustDomain(), roots))
	return err
}

func drawIdentities(w io.Writer, all []shownIdentity, wide bool) error {
	head := []string{"POD", "IDENTITY", "EXPIRES IN", "TRUSTED"}
	if wide {
		head = append(head, "NOT AFTER", "ISSUER", "SERIAL")
	}
	var rows [][]string
	for _, one := range all {
		trusted := "√"
		if !one.Trusted {
			trusted = "× " + one.Problem
		}
		row := []string{one.Pod, one.ID, time.Until(one.NotAfter).Round(time.Second).String(),
			trusted}
		if wide {
			row = append(row, one.NotAfter.Format(time.RFC3339), one.Issuer, one.Serial)
		}
		rows = append(rows, row)
	}
	return printTable(w, head, rows)
}
