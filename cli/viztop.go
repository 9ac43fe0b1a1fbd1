package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/top"
	"github.com/tulle-mesh/tulle/viz"
)

// vizTop is the live page, or its figures as lines of JSON.
type vizTop struct {
	*vizApp
	out      *output
	interval time.Duration
	ascii    bool
	group    string
	sides    vizSides
}

func newVizTopCommand(v *vizApp) *cobra.Command {
	t := &vizTop{vizApp: v}
	cmd := &cobra.Command{
		Use:   "top [KIND[/NAME]]",
		Short: "Watch live traffic: who calls what, how often, how well",
		Long: `Watch live traffic on a page that can be sorted, filtered, paused and looked into; ?
shows the keys.

Where standard output is no terminal, or with -o json, every answer is one line of JSON instead.
A caller without a proxy is shown by its address. Routes are those of ServiceProfiles.`,
		Example: "  meshctl viz top\n  meshctl viz top deploy/web -n shop\n" +
			"  meshctl viz top svc/checkout -o json | head -1",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.checkAll(cmd, args); err != nil {
				return err
			}
			return t.run(cmd.Context(), args)
		},
		ValidArgs: []string{"ns", "deploy", "sts", "ds", "job", "cronjob", "svc", "pod"},
	}
	t.out = addOutput(cmd, "page", "json")
	t.sides.addFrom(cmd)
	t.sides.addTo(cmd)
	cmd.Flags().DurationVar(&t.interval, "interval", time.Second, "how often to ask")
	cmd.Flags().StringVar(&t.group, "group", viz.GroupRoute,
		"one row for each service, route, pod or identity")
	cmd.Flags().BoolVar(&t.ascii, "ascii", false,
		"draw with ASCII only (as where the locale is not UTF-8)")
	return cmd
}

func (t *vizTop) checkAll(cmd *cobra.Command, args []string) error {
	if err := t.out.check(cmd); err != nil {
		return err
	}
	if err := t.check(cmd); err != nil {
		return err
	}
	if t.interval < 250*time.Millisecond || t.interval > time.Minute {
		return usagef(cmd, "--interval %s: use 250ms to 1m", t.interval)
	}
	switch t.group {
	case viz.GroupService, viz.GroupRoute, viz.GroupPod, viz.GroupIdentity:
	default:
		return usagef(cmd, "--group %q: use service, route, pod or identity", t.group)
	}
	return checkResources(cmd, append([]string{t.sides.from, t.sides.to}, args...))
}

func (t *vizTop) run(ctx context.Context, args []string) error {
	link, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	q, err := t.query()
	if err != nil {
		return err
	}
	t.sides.set(&q)
	q.Group = t.group
	if len(args) > 0 {
		q.Resource = args[0]
	}
	ask := func(ctx context.Context, q viz.Query) (*viz.Top, error) {
		return askViz(ctx, link, func(c *viz.Client) (*viz.Top, error) { return c.Top(ctx, q) })
	}
	if t.out.format == "json" || !isTerminal(t.Out) || os.Getenv("TERM") == "dumb" {
		return t.lines(ctx, q, ask)
	}
	// The first answer is had before the screen is taken: an error is better read on the command
	// line.
	if _, err := ask(ctx, q); err != nil {
		return err
	}
	return top.Run(ctx, top.Config{
		Ask:   ask,
		Query: q, Interval: t.interval, ASCII: t.ascii || !utf8Locale(os.Getenv), In: t.In,
		Out: t.Out, Environ: t.environ(),
	})
}

// lines prints each answer as a line of JSON, until the context ends or nobody reads.
func (t *vizTop) lines(
	ctx context.Context, q viz.Query, ask func(context.Context, viz.Query) (*viz.Top, error),
) error {
	out := json.NewEncoder(t.Out)
	ticker := time.NewTicker(t.interval)
	defer ticker.Stop()
	for {
		answer, err := ask(ctx, q)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.Encode(answer); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// environ is the process's own, with --no-color said as the libraries understand it.
func (t *vizTop) environ() []string {
	if t.noColor {
		return append(os.Environ(), "NO_COLOR=1")
	}
	return os.Environ()
}

// utf8Locale says whether the terminal can be expected to show more than ASCII. A locale that is
// not set at all says nothing, and today's terminals can; the Linux console's font has no such
// signs.
func utf8Locale(getenv func(string) string) bool {
	if getenv("TERM") == "linux" {
		return false
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := strings.ToLower(getenv(name)); locale != "" {
			return strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
		}
	}
	return true
}
