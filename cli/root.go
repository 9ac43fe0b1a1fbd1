package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/tulle-mesh/tulle/identity/names"
)

// app is what every command shares: where to write, how to reach the cluster, and this binary's
// version.
type app struct {
	genericiooptions.IOStreams
	version   string
	config    *genericclioptions.ConfigFlags
	meshSpace string // the control plane's namespace
	noColor   bool
}

// New returns meshctl's command tree, writing to the process's own streams.
func New(version string) *cobra.Command {
	return newRoot(version, genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout,
		ErrOut: os.Stderr})
}

// Main runs meshctl and returns the process's exit status.
func Main(ctx context.Context, version string, args []string) int {
	root := New(version)
	root.SetArgs(args)
	return report(root.ErrOrStderr(), root.ExecuteContext(ctx))
}

func newRoot(version string, streams genericiooptions.IOStreams) *cobra.Command {
	a := &app{IOStreams: streams, version: version, config: configFlags()}
	root := &cobra.Command{
		Use:   "meshctl",
		Short: "Install, use and look into the Tulle service mesh",
		Long: "meshctl installs Tulle on Kubernetes, adds its proxy to workloads, " +
			"shows their golden metrics, and runs the same mesh on one machine.",
		Example: "  meshctl install | kubectl apply -f -\n" +
			"  meshctl inject deployment.yaml | kubectl apply -f -\n  meshctl viz top deploy/web",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	a.addFlags(root)
	setStreams(root, streams)
	root.AddCommand(a.commands()...)
	checkUsage(root)
	return root
}

// commands lists every verb; each lives in the file of its name.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		newInstallCommand(a),
		newUninstallCommand(a),
		newInjectCommand(a),
		newUninjectCommand(a),
		newDevCommand(a),
		newCanaryCommand(a),
		newCheckCommand(a),
		newDashboardCommand(a),
		newIdentityCommand(a),
		newDebugCommand(a),
		newDiagnosticsCommand(a),
		newExplainCommand(a),
		newFaultCommand(a),
		newServeCommand(a),
		newSLOCommand(a),
		newVersionCommand(a),
		newVizCommand(a),
	}
}

func (a *app) addFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	a.config.AddFlags(flags)
	flags.StringVar(&a.meshSpace, "tulle-namespace", names.Namespace,
		"namespace of the control plane")
	flags.BoolVar(&a.noColor, "no-color", os.Getenv("NO_COLOR") != "",
		"print without colour (or set NO_COLOR)")
}

// configFlags are the flags of kubectl that a mesh's user needs: more would bury a command's own.
func configFlags() *genericclioptions.ConfigFlags {
	all := genericclioptions.NewConfigFlags(true)
	return (&genericclioptions.ConfigFlags{
		KubeConfig: all.KubeConfig, Context: all.Context, Namespace: all.Namespace,
		Impersonate: all.Impersonate, ImpersonateGroup: all.ImpersonateGroup,
	}).WithDiscoveryQPS(50)
}

func setStreams(root *cobra.Command, s genericiooptions.IOStreams) {
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.ErrOut)
}
