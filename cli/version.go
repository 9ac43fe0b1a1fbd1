package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
)

// versions are what runs: here, in the control plane, and how many proxies of which version.
type versions struct {
	Client  string            `json:"client"`
	Servers map[string]string `json:"servers,omitempty"`
	Proxies map[string]int    `json:"proxies,omitempty"`
	Problem string            `json:"problem,omitempty"`
}

// versionTimeout: the client's own version must not wait long for a cluster that is not there.
const versionTimeout = 5 * time.Second

func newVersionCommand(a *app) *cobra.Command {
	var clientOnly bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of meshctl, the control plane and the proxies",
		Long: "Print the version of this meshctl and, where the cluster can be reached, of " +
			"the control plane and the proxies.",
		Example: "  meshctl version\n  meshctl version --client\n  meshctl version -o json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&clientOnly, "client", false, "print only this meshctl's version")
	out := addOutput(cmd, "table", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		v := versions{Client: a.version}
		if !clientOnly {
			a.readVersions(cmd.Context(), &v)
		}
		return out.print(a.Out, v, func(w io.Writer) error { return v.draw(w, clientOnly) })
	}
	return cmd
}

func (a *app) readVersions(ctx context.Context, v *versions) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	client, err := a.client()
	if err != nil {
		v.Problem = err.Error()
		return
	}
	servers, err := client.AppsV1().Deployments(a.meshSpace).List(
		ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/part-of=tulle"})
	if err != nil {
		v.Problem = err.Error()
		return
	}
	v.Servers = map[string]string{}
	for _, d := range servers.Items {
		v.Servers[d.Name] = imageTag(d.Spec.Template.Spec.Containers)
	}
	pods, err := client.CoreV1().Pods("").List(
		ctx, metav1.ListOptions{LabelSelector: names.LabelMesh})
	if err != nil {
		v.Problem = err.Error()
		return
	}
	v.Proxies = map[string]int{}
	for i := range pods.Items {
		if !finished(&pods.Items[i]) {
			v.Proxies[pods.Items[i].Annotations[names.AnnotationInjected]]++
		}
	}
}

func (v versions) draw(w io.Writer, clientOnly bool) error {
	rows := [][]string{{"meshctl", v.Client}}
	for _, name := range slices.Sorted(maps.Keys(v.Servers)) {
		rows = append(rows, []string{name, v.Servers[name]})
	}
	for _, version := range slices.Sorted(maps.Keys(v.Proxies)) {
		rows = append(rows, []string{fmt.Sprintf("%d proxies", v.Proxies[version]), version})
	}
	switch {
	case v.Problem != "":
		rows = append(rows, []string{"control plane", "unknown: " + v.Problem})
	case !clientOnly && len(v.Servers) == 0:
		rows = append(rows, []string{"control plane", "not installed"})
	}
	return printTable(w, []string{"COMPONENT", "VERSION"}, rows)
}
