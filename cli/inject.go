package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
)

// proxyFlags are what injected pods are told: the same flags for `inject`, `install` and `serve
// injector`.
type proxyFlags struct {
	trustDomain     string
	clusterDomain   string
	clusterNetworks []string
	outboundPolicy  string
	registry        string
	tag             string
	pullPolicy      string
	logLevel        string
	resources       injector.Resources
}

func (p *proxyFlags) add(flags *pflag.FlagSet, version string) {
	flags.StringVar(&p.trustDomain, "trust-domain", names.TrustDomain,
		"SPIFFE trust domain of every identity")
	flags.StringVar(&p.clusterDomain, "cluster-domain", names.ClusterDomain,
		"what the DNS names of the cluster's Services end in")
	p.addOutbound(flags)
	flags.StringVar(&p.registry, "image-registry", names.ImageRegistry,
		"where the images mesh-proxy and meshctl are")
	flags.StringVar(&p.tag, "image-tag", version, "tag of the images")
	flags.StringVar(&p.pullPolicy, "image-pull-policy", "IfNotPresent",
		"when to pull the images: Always, IfNotPresent, Never")
	flags.StringVar(&p.logLevel, "proxy-log-level", "info",
		"what proxies log: debug, info, warn, error")
	p.addResources(flags)
}

// addOutbound adds what says where calls may go of which the mesh knows nothing.
func (p *proxyFlags) addOutbound(flags *pflag.FlagSet) {
	flags.StringSliceVar(&p.clusterNetworks, "cluster-networks", nil,
		"the networks of pods and Services, in which an unknown address is refused whatever the "+
			"outbound policy (default those that ServiceCIDRs and nodes name)")
	flags.StringVar(&p.outboundPolicy, "outbound-policy", injector.Allow,
		"whether what is unknown, and in none of these networks, is passed on to where it was "+
			"going: allow, deny")
}

// addResources adds what says how large the containers are that are added to a pod.
func (p *proxyFlags) addResources(flags *pflag.FlagSet) {
	flags.StringVar(&p.resources.CPURequest, "proxy-cpu-request", "",
		"CPU that each added container asks for (default 10m)")
	flags.StringVar(&p.resources.CPULimit, "proxy-cpu-limit", "",
		"CPU that each may use, which a quota on limits.cpu wants (default no limit)")
	flags.StringVar(&p.resources.MemoryRequest, "proxy-memory-request", "",
		"memory that each asks for (default 20Mi)")
	flags.StringVar(&p.resources.MemoryLimit, "proxy-memory-limit", "",
		"memory that each may use (default 128Mi)")
}

func newInjectCommand(a *app) *cobra.Command {
	var flags proxyFlags
	cmd := &cobra.Command{
		Use:   "inject FILE|FOLDER|- ...",
		Short: "Add the proxy to the workloads in YAML or JSON files",
		Long: `Print the files with the proxy added to every workload in them, ready for 'kubectl
apply -f -'.

Everything else in the files stays byte for byte: comments, order, quoting, line ends. 'meshctl
uninject' gives back the input. A folder stands for all its .yaml, .yml and .json files. What
became of each resource is said on standard error. A Namespace gets the label
tulle.dev/inject=enabled, so that the webhook injects its pods.

Needs Kubernetes 1.29 or later: the proxy is a native sidecar. Its init container needs root and
NET_ADMIN, which Pod Security below "privileged" refuses.`,
		Example: "  meshctl inject deployment.yaml | kubectl apply -f -\n" +
			"  kubectl get deploy/web -o yaml | meshctl inject - | kubectl apply -f -\n" +
			"  meshctl inject deploy/ > injected.yaml",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			config, err := a.injectConfig(flags)
			if err != nil {
				return usagef(cmd, "%w", err)
			}
			return a.rewrite(args, "injected",
				func(name string, text []byte) ([]byte, []injector.Report, error) {
					return injector.InjectText(config, name, text)
				})
		},
	}
	flags.add(cmd.Flags(), a.version)
	return cmd
}

// rewriter is what inject and uninject do with one text.
type rewriter func(name string, text []byte) ([]byte, []injector.Report, error)

// rewrite reads every input before it prints anything: half an output, piped into kubectl, would be
// half a deployment.
func (a *app) rewrite(args []string, done string, do rewriter) error {
	names, err := inputs(args)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	var reports []injector.Report
	var errs []error
	for _, name := range names {
		text, err := a.readInput(name)
		if err != nil {
			return err
		}
		text, fate, err := do(name, text)
		errs = append(errs, err)
		join(&out, text)
		reports = append(reports, fate...)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range reports {
		a.reportFate(r, done)
	}
	_, err = out.WriteTo(a.Out)
	return err
}

func (a *app) reportFate(r injector.Report, done string) {
	switch {
	case r.Place != "":
		fmt.Fprintf(a.ErrOut, "%s: %s %q skipped: %s\n", r.Place, r.Kind, r.Name, r.Reason)
		return
	case r.Reason != "":
		fmt.Fprintf(a.ErrOut, "%s %q skipped: %s\n", r.Kind, r.Name, r.Reason)
		return
	}
	fmt.Fprintf(a.ErrOut, "%s %q %s\n", r.Kind, r.Name, done)
}

// join puts texts behind each other as documents of one stream.
func join(out *bytes.Buffer, text []byte) {
	if out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteByte('\n')
	}
	if out.Len() > 0 && !bytes.HasPrefix(text, []byte("---")) {
		out.WriteString("---\n")
	}
	out.Write(text)
}

func (a *app) readInput(name string) ([]byte, error) {
	if name == "-" {
		text, err := io.ReadAll(a.In)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read input: %w", err)
	}
	return text, nil
}

// manifestFiles are the names a folder's files must end in.
var manifestFiles = []string{".yaml", ".yml", ".json"}

// inputs expands folders, in the order of names.
func inputs(args []string) ([]string, error) {
	var names []string
	for _, arg := range args {
		if arg == "-" {
			names = append(names, arg)
			continue
		}
		before := len(names)
		err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (path == arg ||
				slices.Contains(manifestFiles, filepath.Ext(path))) {
				names = append(names, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read input: %w", err)
		}
		if len(names) == before {
			return nil, fmt.Errorf("%s holds no .yaml, .yml or .json file", arg)
		}
	}
	return names, nil
}
