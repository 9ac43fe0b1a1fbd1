package cli

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/injector"
)

// injectConfig checks the flags that end up in every pod: a mistake there would show only once the
// pods run.
func (a *app) injectConfig(p proxyFlags) (injector.Config, error) {
	if err := p.check(); err != nil {
		return injector.Config{}, err
	}
	return injector.Config{
		Version: a.version, TrustDomain: p.trustDomain, ClusterDomain: p.clusterDomain,
		Namespace: a.meshSpace, ClusterNetworks: p.clusterNetworks,
		OutboundPolicy: p.outboundPolicy,
		ProxyImage:     p.image("mesh-proxy"), PullPolicy: corev1.PullPolicy(p.pullPolicy),
		LogLevel: p.logLevel, Resources: p.resources,
	}, nil
}

func (p proxyFlags) image(name string) string { return p.registry + "/" + name + ":" + p.tag }

func (p proxyFlags) check() error {
	if _, err := spiffeid.TrustDomainFromString(p.trustDomain); err != nil {
		return fmt.Errorf("--trust-domain %q: %w", p.trustDomain, err)
	}
	if problems := validation.IsDNS1123Subdomain(p.clusterDomain); len(problems) > 0 {
		return fmt.Errorf("--cluster-domain %q: write it as cluster.local", p.clusterDomain)
	}
	for _, network := range p.clusterNetworks {
		if _, err := netip.ParsePrefix(network); err != nil {
			return fmt.Errorf("--cluster-networks %q: write networks as 10.0.0.0/8", network)
		}
	}
	if !slices.Contains([]string{injector.Allow, injector.Deny}, p.outboundPolicy) {
		return fmt.Errorf("--outbound-policy %q: use allow or deny", p.outboundPolicy)
	}
	if !slices.Contains([]string{"Always", "IfNotPresent", "Never"}, p.pullPolicy) {
		return fmt.Errorf("--image-pull-policy %q: use Always, IfNotPresent or Never", p.pullPolicy)
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, p.logLevel) {
		return fmt.Errorf("--proxy-log-level %q: use debug, info, warn or error", p.logLevel)
	}
	if err := p.resources.Check(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}
