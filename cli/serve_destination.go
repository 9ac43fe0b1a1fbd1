package cli

import (
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/kube"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/destination/status"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// destinationQueryPort is where destination tells what it would tell a proxy, on the pod's loopback
// only.
const destinationQueryPort = 8087

func newServeDestinationCommand(a *app) *cobra.Command {
	cmd, f := newServerCommand(a, names.Destination,
		"Run the server that tells proxies who is behind a name, and how to talk to it.",
		config.DestinationPort)
	f.addCertificate(cmd)
	var queries string
	proxies := proxyFlags{pullPolicy: "Always", logLevel: "info"}
	proxies.addOutbound(cmd.Flags())
	var catalog consulServeFlags
	catalog.add(cmd.Flags())
	var traces tracingFlags
	traces.add(cmd.Flags())
	cmd.Flags().StringVar(&queries, "query-listen",
		net.JoinHostPort("127.0.0.1", strconv.Itoa(destinationQueryPort)),
		"loopback address to answer 'meshctl diagnostics' on")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		proxies.trustDomain, proxies.clusterDomain = f.trustDomain, f.clusterDomain
		if err := proxies.check(); err != nil {
			return usagef(cmd, "%w", err)
		}
		tracing, err := traces.message()
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		td := spiffeid.RequireTrustDomainFromString(f.trustDomain)
		log, err := f.logger()
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		beside, err := catalog.source(td, log)
		if err != nil {
			return usagef(cmd, "%w", err)
		}
		source, err := f.certificate(cmd.Context(), td, log)
		if err != nil {
			return err
		}
		mesh := destination.Mesh{
			TrustDomain: td, ClusterDomain: f.clusterDomain,
			Replica:     registry.Name{Namespace: a.meshSpace, Name: os.Getenv("POD_NAME")},
			Networks:    prefixes(proxies.clusterNetworks),
			DenyUnknown: proxies.outboundPolicy == injector.Deny,
			Zones:       catalog.zones(),
			Tracing:     tracing,
		}
		cfg := destination.Config{Source: beside, Identity: source, Log: log, Mesh: mesh}
		listen := destination.Listen{Proxies: f.listen, Queries: queries, Health: f.healthListen}
		return serveDestination(cmd.Context(), cfg, listen, a.meshSpace)
	}
	return cmd
}

// serveDestination reads Kubernetes, and beside it the source in the configuration if there is one.
func serveDestination(
	ctx context.Context, cfg destination.Config, on destination.Listen, namespace string,
) error {
	client, config, err := kube.Client()
	if err != nil {
		return err
	}
	profiles, err := kube.Dynamic(config)
	if err != nil {
		return err
	}
	sources := destination.Sources{&kube.Source{Client: client, Dynamic: profiles, Log: cfg.Log}}
	if cfg.Source != nil {
		sources = append(sources, cfg.Source)
	}
	cfg.Source = sources
	cfg.Status = &status.Writer{Client: client, Dynamic: profiles, Namespace: namespace,
		Identity: replica(), Log: cfg.Log}
	return destination.Run(ctx, cfg, on)
}

// replica is what this process is called among those that would lead. A container that was
// restarted in its pod is another.
func replica() string { return os.Getenv("POD_NAME") + "_" + rand.Text() }

// prefixes are checked already.
func prefixes(networks []string) []netip.Prefix {
	out := make([]netip.Prefix, 0, len(networks))
	for _, n := range networks {
		out = append(out, netip.MustParsePrefix(n))
	}
	return out
}
