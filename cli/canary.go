package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"

	"github.com/tulle-mesh/tulle/cli/canary"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/viz"
)

// canaryCommand is one run of `meshctl canary`.
type canaryCommand struct {
	*vizApp
	plan     canary.Plan
	choice   canary.Choice
	interval time.Duration
	// objective is the name of the one to go by; "": the Service's own; noObjective: none.
	objective string
	given     func(flag string) bool // whether the user has said it
	promise   *viz.ObjectiveRow      // what the plan goes by; nil: flags alone
	out       *output
}

func newCanaryCommand(a *app) *cobra.Command {
	c := &canaryCommand{vizApp: &vizApp{app: a}}
	cmd := &cobra.Command{
		Use:   "canary KIND/NAME",
		Short: "Move a route's calls to a new version, as long as that does well",
		Long: `Step the weights of an HTTPRoute or a GRPCRoute from one version to another, by what
the callers' proxies measure of the two. The route has a rule with two backends; the second is the
new version, or the one of --canary.

Each --interval the new version is checked: enough of its requests must succeed, and be fast
enough. Where the Service has a ServiceLevelObjective, what that promises is what is asked, but
for what --success and --p99 say. A check that passes adds --step percent, up to --max; one more
that passes there gives it all. After --threshold checks that failed, in all, it gets nothing any
more. With fewer requests than --min-requests, where viz does not answer, and where the old version
falls short as well, there is no verdict, and it waits, --inconclusive checks at most.

Only the two weights are changed. Where somebody else changes them, it ends. Ctrl-C rolls back;
a run that was killed is taken up where it was by the same command. Exit status: 0 promoted, 3
rolled back, 1 an error, 2 a usage error.`,
		Example: "  meshctl canary httproute/web -n shop\n" +
			"  meshctl canary httproute/web --step 10 --interval 30s --max 50 --success 99 " +
			"--p99 500ms --min-requests 100",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, args[0]) },
	}
	c.addFlags(cmd)
	return cmd
}

func (c *canaryCommand) addFlags(cmd *cobra.Command) {
	flags, p := cmd.Flags(), &c.plan
	flags.IntVar(&p.Step, "step", 10, "percent to add after each check that passed")
	flags.IntVar(&p.Max, "max", 50, "percent after which the new version gets all")
	flags.DurationVar(&c.interval, "interval", 30*time.Second, "time between checks, 10s to 1h")
	flags.Float64Var(&p.Success, "success", 99,
		"percent of requests that must succeed (default: the objective's, if there is one)")
	flags.DurationVar(&p.P99, "p99", 0, "what 99 of 100 requests must take at most; 0: any time "+
		"(default: the objective's latency, if there is one)")
	flags.StringVar(&c.objective, "objective", "", "ServiceLevelObjective to go by, or "+
		noObjective+" (default: the Service's, of several the strictest)")
	c.given = flags.Changed
	flags.Uint64Var(&p.MinRequests, "min-requests", 100, "no verdict by fewer than these")
	flags.IntVar(&p.Failures, "threshold", 3, "roll back after this many checks failed")
	flags.IntVar(&p.Withheld, "inconclusive", 20,
		"roll back after this many checks in a row without a verdict")
	flags.StringVar(&c.choice.Canary, "canary", "",
		"Service of the new version (default: the second backend)")
	flags.StringVar(&c.choice.Rule, "rule", "",
		"name or number of the rule (default: the only one with two backends)")
	flags.StringVar(&c.addr, "viz-addr", "", "ask the viz at this host:port, and forward no port")
	c.out = addOutput(cmd, "table", "json")
}

// routeResources are the kinds of routes that have weights, by each name that kubectl takes.
var routeResources = map[string]string{
	"httproute": crd.HTTPRoutes, "httproutes": crd.HTTPRoutes,
	"grpcroute": crd.GRPCRoutes, "grpcroutes": crd.GRPCRoutes,
}

func (c *canaryCommand) run(cmd *cobra.Command, arg string) error {
	if err := c.out.check(cmd); err != nil {
		return err
	}
	kind, name, _ := strings.Cut(arg, "/")
	resource := routeResources[strings.ToLower(kind)]
	if resource == "" || name == "" {
		return usagef(cmd, "%q is no route: write httproute/NAME or grpcroute/NAME", arg)
	}
	if err := c.plan.Check(); err != nil {
		return usagef(cmd, "%w", err)
	}
	if c.interval < viz.MinWindow || c.interval > time.Hour {
		return usagef(cmd, "--interval %s: use %s to 1h", c.interval, viz.MinWindow)
	}
	ctx := cmd.Context()
	in, err := c.routes(resource)
	if err != nil {
		return err
	}
	route, err := canary.Find(ctx, in, name, c.choice)
	if err != nil {
		return err
	}
	return c.move(ctx, arg, route)
}

// routes are those of -n.
func (c *canaryCommand) routes(resource string) (dynamic.ResourceInterface, error) {
	ns, err := c.namespace()
	if err != nil {
		return nil, err
	}
	_, client, err := c.clients()
	if err != nil {
		return nil, err
	}
	return client.Resource(crd.GatewayResource(resource)).Namespace(ns), nil
}

func (c *canaryCommand) move(ctx context.Context, arg string, route *canary.Route) error {
	link, err := c.link(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	tale := &canaryTale{out: c.out, w: c.Out, route: arg, of: route, every: c.interval}
	if c.promise, err = c.objectiveOf(ctx, link, route.Service); err != nil {
		return err
	}
	c.keep()
	tale.asked = c.asked()
	run := &canary.Run{
		Plan: c.plan, Interval: c.interval, Weight: route.Weight, Set: route.Set, Tell: tale.tell,
		Measure: func(ctx context.Context) (stable, fresh canary.Signals, err error) {
			return c.measure(ctx, link, route)
		},
	}
	phase, err := run.Do(ctx)
	if err == nil && phase == canary.RolledBack {
		return Findings(1)
	}
	return err
}

// link is a way to the cluster's viz: a mesh of `meshctl dev` in this folder has no such routes.
func (c *canaryCommand) link(ctx context.Context) (*vizLink, error) {
	if c.addr == "" {
		return c.forwarded(ctx, "")
	}
	c.local = true
	return &vizLink{app: c.vizApp, client: viz.NewClient(c.addr), stop: func() {}}, nil
}

// measure asks viz how the two versions did during the last interval.
func (c *canaryCommand) measure(
	ctx context.Context, link *vizLink, route *canary.Route,
) (stable, fresh canary.Signals, err error) {
	q := viz.Query{Resource: "service/" + route.Service.Name, Namespace: route.Service.Namespace,
		Window: c.interval}
	answer, err := askViz(ctx, link, func(v *viz.Client) (*viz.Backends, error) {
		return v.Backends(ctx, q)
	})
	if err != nil {
		return stable, fresh, err
	}
	for i := range answer.Rows {
		switch row := &answer.Rows[i]; {
		case route.Stable.Has(row.Backend):
			stable = signalsOf(&row.Figures)
		case route.Canary.Has(row.Backend):
			fresh = signalsOf(&row.Figures)
		}
	}
	return stable, fresh, nil
}

// signalsOf takes the worse of what applications saw and what was really sent: a retry, which may
// go to the other version, hides a failure from the first, and a version that cannot be reached
// has none of the second.
func signalsOf(f *viz.Figures) canary.Signals {
	s := canary.Signals{Requests: max(f.WindowRequests, f.WindowTries), P99Ms: f.P99Ms}
	for _, rate := range []*float64{f.SuccessRate, f.ActualSuccessRate} {
		if rate == nil {
			continue
		}
		if percent := 100 * *rate; s.Success == nil || percent < *s.Success {
			s.Success = &percent
		}
	}
	return s
}

// canaryTale prints what happens, as it happens: a line for people, or one of JSON.
type canaryTale struct {
	out   *output
	w     io.Writer
	route string // as the user wrote it
	of    *canary.Route
	every time.Duration
	asked canaryAsked
}

func (t *canaryTale) tell(e canary.Event) {
	if t.out.format != "json" {
		fmt.Fprintln(t.w, t.line(&e))
		return
	}
	encoder := json.NewEncoder(t.w)
	encoder.SetEscapeHTML(false)
	encoder.Encode(struct { // an error means that nobody listens, which is no reason to stop
		Route   string `json:"route"`
		Backend string `json:"backend"`
		canaryAsked
		canary.Event
	}{t.route, t.of.Canary.Name, t.asked, e})
}

func (t *canaryTale) line(e *canary.Event) string {
	clock, name := e.Time.Format(time.TimeOnly), t.of.Canary.Name
	if e.Check == nil {
		return fmt.Sprintf("%s  %s has %d %% of the calls of %s; it is checked every %s: %s", clock,
			name, e.Weight, t.route, t.every, &t.asked)
	}
	c := e.Check
	line := fmt.Sprintf("%s  %3d %%  %-8s  %s: %s; %s: %s", clock, c.Weight, c.Outcome, name,
		signalsText(c.Canary), t.of.Stable.Name, signalsText(c.Stable))
	if c.Reason != "" {
		line += "; " + c.Reason
	}
	switch {
	case e.Phase == canary.Promoted:
		line += fmt.Sprintf("\n%s  promoted: %s has 100 %%", clock, name)
	case e.Phase == canary.RolledBack:
		line += fmt.Sprintf("\n%s  rolled back: %s has 100 %%", clock, t.of.Stable.Name)
	case e.Weight != c.Weight:
		line += fmt.Sprintf("; next %d %%", e.Weight)
	}
	return line
}

func signalsText(s canary.Signals) string {
	if s.Requests == 0 {
		return "no requests"
	}
	text := fmt.Sprintf("%d requests", s.Requests)
	if s.Success != nil {
		text += fmt.Sprintf(", %.2f %% ok", *s.Success)
	}
	if s.P99Ms != nil {
		text += fmt.Sprintf(", p99 %.0f ms", *s.P99Ms)
	}
	return text
}
