package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// vizDeployment is who answers on Kubernetes.
const vizDeployment = "tulle-viz"

// vizApp is what viz's commands share: where viz answers, and what part of the mesh is asked for.
type vizApp struct {
	*app
	addr   string
	all    bool
	window time.Duration
	ago    time.Duration
	local  bool // viz was found without Kubernetes
}

func newVizCommand(a *app) *cobra.Command {
	v := &vizApp{app: a}
	cmd := &cobra.Command{
		Use:   "viz",
		Short: "Show live golden metrics: who calls whom, how often, how well",
		Long: `Show what the proxies measure: success rate, requests per second, latency, and how each connection is protected.

On Kubernetes viz is reached by a port-forward, so that RBAC decides who may look. In a folder where 'meshctl dev up' runs, its
mesh is asked, unless --context or --kubeconfig says otherwise.`,
		Example: "  meshctl viz stat deploy\n  meshctl viz top deploy/web\n  meshctl viz edges -A",
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(&v.addr, "viz-addr", "", "ask the viz at this host:port instead of looking for one")
	flags.BoolVarP(&v.all, "all-namespaces", "A", false, "show every namespace")
	flags.DurationVar(&v.window, "window", viz.DefaultWindow, "time that rates and quantiles are taken over, up to 1h")
	flags.DurationVar(&v.ago, "ago", 0, "look at the past: end the window this long ago")
	cmd.AddCommand(newVizStatCommand(v), newVizEdgesCommand(v), newVizRoutesCommand(v))
	return cmd
}

// query is the part of a question that every command has. Without -n the mesh of `meshctl dev up` is shown whole: it has one
// namespace.
func (v *vizApp) query() (viz.Query, error) {
	q := viz.Query{Window: v.window, Ago: v.ago}
	if v.all || v.local && *v.config.Namespace == "" {
		return q, nil
	}
	var err error
	q.Namespace, err = v.namespace()
	return q, err
}

func (v *vizApp) check(cmd *cobra.Command) error {
	if v.window < viz.MinWindow || v.window > time.Hour {
		return usagef(cmd, "--window %s: use %s to 1h", v.window, viz.MinWindow)
	}
	if v.ago < 0 || v.ago > time.Hour {
		return usagef(cmd, "--ago %s: viz remembers one hour", v.ago)
	}
	return nil
}

// connect finds viz: at --viz-addr, in the mesh of `meshctl dev up` in this folder, or by a port-forward. The caller must
// call stop.
func (v *vizApp) connect(ctx context.Context) (client *viz.Client, stop func(), err error) {
	if v.addr != "" {
		v.local = true
		return viz.NewClient(v.addr), func() {}, nil
	}
	found, err := v.devAddr()
	if err != nil {
		return nil, nil, err
	}
	if found != "" {
		v.addr, v.local = found, true
		fmt.Fprintf(v.ErrOut, "asking the mesh of 'meshctl dev up' in this folder (viz at %s)\n", found)
		return viz.NewClient(found), func() {}, nil
	}
	addr, stop, err := v.forward(ctx, vizDeployment, config.VizQueryPort)
	if err != nil {
		return nil, nil, fmt.Errorf("reach viz: %w", err)
	}
	return viz.NewClient(addr), stop, nil
}

// devAddr is the viz of a mesh that runs in this folder, or "".
func (v *vizApp) devAddr() (string, error) {
	if *v.config.Context != "" || *v.config.KubeConfig != "" {
		return "", nil
	}
	if _, err := os.Stat(filepath.Join(dev.DefaultDir, "ports.json")); errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	ports, err := dev.ReadPorts(dev.DefaultDir)
	if err != nil {
		return "", err
	}
	return ports.VizQuery, nil
}

// explain adds the next step to the error of a viz that does not answer.
func (v *vizApp) explain(err error) error {
	if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		return err
	}
	if v.local {
		return fmt.Errorf("%w\nNothing answers at %s: is the mesh running? 'meshctl dev status' tells, 'meshctl dev up' starts it", err, v.addr)
	}
	return fmt.Errorf("%w\nThe port-forward to viz broke: 'meshctl check' tells whether viz runs", err)
}
