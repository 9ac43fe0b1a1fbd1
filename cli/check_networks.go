package cli

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
)

// checkNetworks warns of meshed pods whose addresses are in no network that the mesh takes for the
// cluster's. In the moment before destination knows such a pod, who dials its address is passed on
// to it as to somebody outside, in plaintext.
func (c *checker) checkNetworks(ctx context.Context) {
	const check = "the meshed pods' addresses are in the cluster's networks"
	c.begin("networks")
	networks, err := c.podNetworks(ctx)
	if err != nil {
		c.fail(check, err.Error(), "kubectl get nodes")
		return
	}
	pods, err := c.client.CoreV1().Pods("").List(
		ctx, metav1.ListOptions{LabelSelector: names.LabelMesh})
	if err != nil {
		c.fail(check, err.Error(), "kubectl get pods -A -l "+names.LabelMesh)
		return
	}
	var beyond []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		for _, ip := range pod.Status.PodIPs {
			if !finished(pod) && !inSome(networks, ip.IP) {
				beyond = append(beyond, pod.Namespace+"/"+pod.Name+": "+ip.IP)
			}
		}
	}
	c.listed(check, warning, beyond, len(pods.Items),
		"meshctl install --cluster-networks NETWORKS | kubectl apply -f -, "+
			"with those of the pods and of the Services")
}

// podNetworks are those that the installation was told, or else that nodes name.
func (c *checker) podNetworks(ctx context.Context) (out []netip.Prefix, err error) {
	d, err := c.client.AppsV1().Deployments(c.meshSpace).Get(
		ctx, names.Destination, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	for _, container := range d.Spec.Template.Spec.Containers {
		for _, arg := range container.Args {
			if list, told := strings.CutPrefix(arg, "--cluster-networks="); told {
				return networksOf(strings.Split(list, ",")), nil
			}
		}
	}
	nodes, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range nodes.Items {
		out = append(out, networksOf(nodes.Items[i].Spec.PodCIDRs)...)
	}
	return out, nil
}

func networksOf(all []string) (out []netip.Prefix) {
	for _, text := range all {
		if network, err := netip.ParsePrefix(text); err == nil {
			out = append(out, network)
		}
	}
	return out
}

func inSome(networks []netip.Prefix, text string) bool {
	addr, err := netip.ParseAddr(text)
	return err == nil && slices.ContainsFunc(networks, func(network netip.Prefix) bool {
		return network.Contains(addr)
	})
}
