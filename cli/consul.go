package cli

import (
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/pflag"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/consul"
)

// consulFlags say which Consul destination reads beside Kubernetes, and how.
type consulFlags struct{ address, namespace, datacenter string }

func (f *consulFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "consul-address", "",
		"a Consul to read beside Kubernetes, http://HOST:PORT or https://HOST:PORT; none if empty")
	flags.StringVar(&f.namespace, "consul-namespace", consul.Namespace,
		"namespace in which Consul's services are for the mesh, beside Services of Kubernetes")
	flags.StringVar(&f.datacenter, "consul-datacenter", "",
		"datacenter whose services to read (default: the one of the agent that is asked)")
}

func (f *consulFlags) check() error {
	if len(validation.IsDNS1123Label(f.namespace)) > 0 {
		return fmt.Errorf("--consul-namespace %q: no namespace can be called so", f.namespace)
	}
	if f.address == "" {
		return nil
	}
	if _, err := consul.New(consul.Config{Address: f.address}); err != nil {
		return fmt.Errorf("--consul-address: %w", err)
	}
	return nil
}

// consulServeFlags also say where destination finds what it needs.
type consulServeFlags struct {
	consulFlags
	tokenFile, caFile string
}

func (f *consulServeFlags) add(flags *pflag.FlagSet) {
	f.consulFlags.add(flags)
	flags.StringVar(&f.tokenFile, "consul-token-file", "",
		"file with the ACL token to read Consul with (default: $"+consul.EnvToken+")")
	flags.StringVar(&f.caFile, "consul-ca-file", "",
		"file with the roots to verify Consul's certificate with (default: the system's)")
}

// source is nil where no Consul is to be read.
func (f *consulServeFlags) source(
	td spiffeid.TrustDomain, log *slog.Logger,
) (destination.Source, error) {
	if err := f.check(); err != nil || f.address == "" {
		return nil, err
	}
	source, err := consul.New(consul.Config{
		Address: f.address, TokenFile: f.tokenFile, Token: os.Getenv(consul.EnvToken),
		CAFile: f.caFile, Datacenter: f.datacenter, Namespace: f.namespace, TrustDomain: td,
		Log: log,
	})
	if err != nil {
		return nil, fmt.Errorf("read Consul: %w", err)
	}
	return source, nil
}

// zones are the DNS zones whose names only Consul knows.
func (f *consulFlags) zones() []string {
	if f.address == "" {
		return nil
	}
	return []string{consul.Zone}
}

// consulInstallFlags name the Secrets that hold what destination needs.
type consulInstallFlags struct {
	consulFlags
	tokenSecret, caSecret string
}

func (f *consulInstallFlags) add(flags *pflag.FlagSet) {
	f.consulFlags.add(flags)
	flags.StringVar(&f.tokenSecret, "consul-token-secret", "",
		"Secret in the control plane's namespace whose key "+manifest.ConsulTokenKey+
			" is the ACL token to read Consul with")
	flags.StringVar(&f.caSecret, "consul-ca-secret", "",
		"Secret in the control plane's namespace whose key "+manifest.ConsulCAKey+
			" holds the roots to verify Consul's certificate with")
}

func (f *consulInstallFlags) config() (manifest.Consul, error) {
	if err := f.check(); err != nil {
		return manifest.Consul{}, err
	}
	for flag, name := range map[string]string{
		"consul-token-secret": f.tokenSecret, "consul-ca-secret": f.caSecret,
	} {
		switch {
		case name == "":
		case f.address == "":
			return manifest.Consul{}, fmt.Errorf("--%s: say which, by --consul-address", flag)
		case len(validation.IsDNS1123Subdomain(name)) > 0:
			return manifest.Consul{}, fmt.Errorf("--%s %q: no Secret can be called so", flag, name)
		}
	}
	return manifest.Consul{Address: f.address, Namespace: f.namespace, Datacenter: f.datacenter,
		TokenSecret: f.tokenSecret, CASecret: f.caSecret}, nil
}
