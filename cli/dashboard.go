package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/viz/gate"
)

func newDashboardCommand(a *app) *cobra.Command {
	v := &vizApp{app: a}
	var port uint16
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Print the address of the page: the mesh as a graph, live",
		Long: `Print the address of the page that shows the mesh live, for one browser: it is good
once.

On Kubernetes viz is reached by a port-forward, so that RBAC decides who may look, and the page is
there until Ctrl-C. Its live requests are those that you may tap: of all namespaces, or else of
that of -n or the kubeconfig. In a folder where 'meshctl dev up' runs, its page's address is
printed, unless --context or --kubeconfig says otherwise.`,
		Example: "  meshctl dashboard\n  meshctl dashboard --port 8000",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return v.dashboard(cmd.Context(), port)
		},
	}
	cmd.Flags().StringVar(
		&v.addr, "viz-addr", "", "show the viz at this host:port instead of looking for one")
	cmd.Flags().Uint16Var(&port, "port", 0, "loopback port to serve the page on (0: a free one)")
	return cmd
}

func (v *vizApp) dashboard(ctx context.Context, port uint16) error {
	if v.addr == "" {
		found, err := v.devAddr()
		if err != nil {
			return err
		}
		if found != "" {
			return v.devDashboard(ctx)
		}
	}
	link, err := v.connect(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return fmt.Errorf("serve the page: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	sessions := v.pageSessions(ctx, link)
	var ended sync.WaitGroup
	ended.Go(func() { sessions.run(ctx) })
	defer ended.Wait()
	defer cancel()
	way := &sameWay{link: link, over: &http.Transport{}, nonce: sessions.nonce}
	g := gate.New(gate.Proxy(func() string { return link.current().Addr() }, way))
	fmt.Fprintln(v.Out, g.Address(l.Addr().String()))
	fmt.Fprintln(v.ErrOut, "Open it in a browser: the address is good once. Ctrl-C ends the page.")
	return g.Serve(ctx, l)
}

func (v *vizApp) devDashboard(ctx context.Context) error {
	address, err := dev.PageAddress(ctx, dev.DefaultDir)
	if err != nil {
		return err
	}
	fmt.Fprintln(v.Out, address)
	return nil
}

// sameWay goes over a link, and over a new one where it is broken: all that is sent may be sent
// again.
type sameWay struct {
	link  *vizLink
	over  http.RoundTripper
	nonce func() string // of the session by which its user taps; "": none
}

// RoundTrip sends a request on.
func (w *sameWay) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(names.TapNonceHeader, w.nonce())
	client := w.link.current()
	answer, err := w.over.RoundTrip(r)
	if err == nil || !silent(err) || !w.link.again(r.Context(), client) {
		return answer, err
	}
	r = r.Clone(r.Context())
	r.URL.Host = w.link.current().Addr()
	r.Host = r.URL.Host
	return w.over.RoundTrip(r)
}
