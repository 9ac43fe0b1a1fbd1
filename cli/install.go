package cli

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/proxy/record"
)

const (
	// defaultLifetime of an SVID: a day survives a long night without identity, and a stolen key is
	// soon worthless.
	defaultLifetime = 24 * time.Hour
	// identity refuses what is outside of these; better to hear it here than from its log
	minLifetime = 2 * time.Second
	maxLifetime = 30 * 24 * time.Hour
)

type installFlags struct {
	proxyFlags
	consul     consulInstallFlags
	crdsOnly   bool
	lifetime   time.Duration
	prometheus prometheusFlags
	replicas   int // of viz
	tracing    tracingFlags
}

func newInstallCommand(a *app) *cobra.Command {
	var flags installFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Print what to apply to install the control plane",
		Long: `Print the YAML of the control plane, its CRDs included, for 'kubectl apply -f -'.

The same flags print the same bytes every time, and no secret: the identity server makes its
issuer on first start, unless the Secret tulle-identity-issuer is there before it. Needs
Kubernetes 1.29 or later: run 'meshctl check --pre' first.`,
		Example: "  meshctl install | kubectl apply -f -\n" +
			"  meshctl install --crds | kubectl apply -f -\n" +
			"  meshctl install --image-registry registry.example/tulle | kubectl diff -f -",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.install(cmd, flags)
		},
	}
	flags.add(cmd.Flags(), a.version)
	flags.consul.add(cmd.Flags())
	flags.tracing.add(cmd.Flags())
	cmd.Flags().BoolVar(&flags.crdsOnly, "crds", false, "print only the CRDs")
	cmd.Flags().DurationVar(&flags.lifetime, "identity-lifetime", defaultLifetime,
		"how long a certificate lasts; proxies renew at half of it")
	flags.prometheus.add(cmd.Flags())
	cmd.Flags().IntVar(&flags.replicas, "viz-replicas", 1,
		fmt.Sprintf("how many viz there are, 1 to %d: each proxy reports to each of them, and any "+
			"of them answers whole", record.MaxReplicas))
	return cmd
}

func (a *app) install(cmd *cobra.Command, flags installFlags) error {
	config, err := a.manifestConfig(flags)
	if err != nil {
		return usagef(cmd, "%w", err)
	}
	objects := manifest.CRDs()
	if !flags.crdsOnly {
		objects = manifest.Objects(config)
	}
	text, err := manifest.Render(objects)
	if err != nil {
		return err
	}
	_, err = a.Out.Write(text)
	return err
}

func (a *app) manifestConfig(flags installFlags) (manifest.Config, error) {
	inject, err := a.injectConfig(flags.proxyFlags)
	if err != nil {
		return manifest.Config{}, err
	}
	if flags.lifetime < minLifetime || flags.lifetime > maxLifetime {
		return manifest.Config{}, fmt.Errorf("--identity-lifetime %s: choose one from %s to %s",
			flags.lifetime, minLifetime, maxLifetime)
	}
	prometheus, err := flags.prometheus.config()
	if err != nil {
		return manifest.Config{}, err
	}
	if n := flags.replicas; n < 1 || n > record.MaxReplicas {
		return manifest.Config{}, fmt.Errorf("--viz-replicas %d: proxies report to 1 to %d", n,
			record.MaxReplicas)
	}
	consul, err := flags.consul.config()
	if err != nil {
		return manifest.Config{}, err
	}
	if _, err := flags.tracing.message(); err != nil {
		return manifest.Config{}, err
	}
	return manifest.Config{Injector: inject, ServerImage: flags.image("meshctl"),
		IdentityLifetime: flags.lifetime, Prometheus: prometheus, VizReplicas: flags.replicas,
		Consul: consul, Tracing: flags.tracing.args()}, nil
}
