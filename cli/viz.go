package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

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
		Long: `Show what the proxies measure: success rate, requests per second, latency, and how
each connection is protected.

On Kubernetes viz is reached by a port-forward, so that RBAC decides who may look. In a folder
where 'meshctl dev up' runs, its mesh is asked, unless --context or --kubeconfig says otherwise.`,
		Example: "  meshctl viz stat deploy\n  meshctl viz top deploy/web\n  meshctl viz edges -A",
	}
	flags := cmd.PersistentFlags()
	flags.StringVar(
		&v.addr, "viz-addr", "", "ask the viz at this host:port instead of looking for one")
	flags.BoolVarP(&v.all, "all-namespaces", "A", false, "show every namespace")
	flags.DurationVar(&v.window, "window", viz.DefaultWindow,
		"time that rates and quantiles are taken over, up to 1h")
	flags.DurationVar(&v.ago, "ago", 0, "look at the past: end the window this long ago")
	cmd.AddCommand(newVizStatCommand(v), newVizTopCommand(v), newVizTapCommand(v),
		newVizEdgesCommand(v), newVizRoutesCommand(v), newVizTracesCommand(v), newVizWhyCommand(v),
		newVizProxiesCommand(v), newVizEndpointsCommand(v), newVizRulesCommand(v),
		newVizDashboardsCommand(v))
	return cmd
}

// query is the part of a question that every command has. Without -n the mesh of `meshctl dev up`
// is shown whole: it has one namespace.
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

// connect finds viz: at --viz-addr, in the mesh of `meshctl dev up` in this folder, or by a
// port-forward. The caller must call stop.
func (v *vizApp) connect(ctx context.Context) (*vizLink, error) {
	if v.addr == "" {
		found, err := v.devAddr()
		if err != nil {
			return nil, err
		}
		if found == "" {
			return v.forwarded(ctx, "")
		}
		fmt.Fprintf(v.ErrOut, "asking the mesh of 'meshctl dev up' in this folder (viz at %s)\n",
			found)
		v.addr = found
	}
	v.local = true
	return &vizLink{app: v, client: viz.NewClient(v.addr), stop: func() {}}, nil
}

// forwarded leads to a replica, if there are several to another one than has been silent.
func (v *vizApp) forwarded(ctx context.Context, silent string) (*vizLink, error) {
	pod, err := v.meshPodBeside(ctx, names.Viz, silent)
	if err != nil {
		return nil, fmt.Errorf("reach viz: %w", err)
	}
	addr, stop, err := v.forwardPod(ctx, pod, config.VizQueryPort)
	if err != nil {
		return nil, fmt.Errorf("reach viz: %w", err)
	}
	return &vizLink{app: v, client: viz.NewClient(addr), pod: pod.Name, stop: stop}, nil
}

// vizLink is a way to viz.
type vizLink struct {
	app    *vizApp
	mu     sync.Mutex // guards the rest: a page may ask again before the last answer came
	client *viz.Client
	pod    string // whose port is forwarded
	stop   func()
	closed bool
}

func (l *vizLink) current() *viz.Client {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.client
}

// again makes a new way after one failed: the pod that a port-forward led to may be gone, and
// another in its place.
func (l *vizLink) again(ctx context.Context, failed *viz.Client) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.app.local || l.closed || ctx.Err() != nil {
		return false
	}
	if l.client != failed {
		return true // another question has done it
	}
	next, err := l.app.forwarded(ctx, l.pod)
	if err != nil {
		return false
	}
	l.stop()
	l.client, l.pod, l.stop = next.client, next.pod, next.stop
	return true
}

func (l *vizLink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.stop()
}

// askViz asks over a link, a second time over a new one if the first failed, and says what to do if
// that did, too.
func askViz[T any](ctx context.Context, l *vizLink, ask func(*viz.Client) (*T, error)) (*T, error) {
	client := l.current()
	answer, err := ask(client)
	if err != nil && silent(err) && l.again(ctx, client) {
		answer, err = ask(l.current())
	}
	if err != nil {
		return nil, l.app.explain(err)
	}
	return answer, nil
}

// devAddr is the viz of a mesh that runs in this folder, or "".
func (a *app) devAddr() (string, error) {
	ports, err := a.devMesh()
	if err != nil || ports == nil {
		return "", err
	}
	return ports.VizQuery, nil
}

// devMesh is the mesh of `meshctl dev up` in this folder; nil: there is none, or the user names a
// cluster.
func (a *app) devMesh() (*dev.Ports, error) {
	if *a.config.Context != "" || *a.config.KubeConfig != "" {
		return nil, nil
	}
	if _, err := os.Stat(filepath.Join(dev.DefaultDir, "ports.json")); errors.Is(
		err, os.ErrNotExist) {
		return nil, nil
	}
	return dev.ReadPorts(dev.DefaultDir)
}

// silent says whether nobody answered, rather than that viz refused.
func silent(err error) bool {
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return true // a node is gone, say
	}
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, io.EOF)
}

// explain adds the next step to the error of a viz that does not answer.
func (v *vizApp) explain(err error) error {
	if !silent(err) {
		return err
	}
	if v.local {
		return fmt.Errorf(
			"%w\nNothing answers at %s: is the mesh running? 'meshctl dev status' tells, "+
				"'meshctl dev up' starts it", err, v.addr)
	}
	return fmt.Errorf("%w\nThe port-forward to viz broke: 'meshctl check' tells whether viz runs",
		err)
}
