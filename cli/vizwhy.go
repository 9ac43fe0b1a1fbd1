package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

func newVizWhyCommand(v *vizApp) *cobra.Command {
	r := &vizReport[viz.Why]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "why REQUEST-ID|TRACE-ID",
		Short: "Say what became of one request, and what to do about it",
		Long: `Say what became of the requests with an ID: that of the header x-request-id, or that
of a trace. For each there is what the proxies of both ends saw, every try with its endpoint and
reason, and what to do about it.

viz knows of requests that are traced, or that did not go well, for some minutes, and in a mesh of
'meshctl dev' of those that a tap shows.
A request that failed has its ID in the access log, too (tulle.request_id, trace_id).`,
		Example: "  meshctl viz why 7f3e0a9c-1d2b-4c6e-9a51-5b8c0d2f4e61\n" +
			"  meshctl viz why 0af7651916cd43dd8448eb211c80319c -o json",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.ask = func(ctx context.Context, c *viz.Client, _ viz.Query) (*viz.Why, error) {
				answer, err := c.Why(ctx, args[0])
				if err == nil && len(answer.Calls) == 0 && r.isTable() {
					return nil, fmt.Errorf("viz knows of no request or trace %q: it keeps those "+
						"that are traced or failed, for some minutes. %s; or watch "+
						"requests as they end: meshctl viz tap", args[0], v.howToTrace())
				}
				return answer, err
			}
			r.table = func(w io.Writer, why *viz.Why) error {
				_, err := io.WriteString(w, v.drawWhy(why))
				return err
			}
			r.empty = func(*viz.Why) string { return "" }
			return r.run(cmd)
		},
	}
	r.addFlags(cmd)
	return cmd
}

func (v *vizApp) drawWhy(why *viz.Why) string {
	var b strings.Builder
	for i := range why.Calls {
		c := &why.Calls[i]
		for k, line := range c.Happened {
			if k > 0 {
				line = "  " + line
			} else if c.Failed() {
				line = v.paint(failedColor, line)
			}
			fmt.Fprintln(&b, line)
		}
		for _, a := range c.Advice {
			fmt.Fprintf(&b, "  next: %s\n", a.Text)
		}
	}
	if why.More > 0 {
		fmt.Fprintf(&b, "... and %d requests more\n", why.More)
	}
	return b.String()
}
