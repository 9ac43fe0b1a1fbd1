package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// verdict is how a check ended.
type verdict string

const (
	fine    verdict = "ok"
	warning verdict = "warning"
	broken  verdict = "error"
)

// finding is one thing that was looked at. Next is what to do about it: a command, wherever there
// is one.
type finding struct {
	Check   string  `json:"check"`
	Verdict verdict `json:"result"`
	Cause   string  `json:"cause,omitempty"`
	Next    string  `json:"next,omitempty"`
}

// category is a group of findings.
type category struct {
	Name     string    `json:"category"`
	Findings []finding `json:"checks"`
}

// checker looks at a cluster. Each check adds what it found.
type checker struct {
	*app
	client  kubernetes.Interface
	dynamic dynamic.Interface
	done    []category
}

func (c *checker) begin(name string) { c.done = append(c.done, category{Name: name}) }

func (c *checker) add(f finding) {
	last := &c.done[len(c.done)-1]
	last.Findings = append(last.Findings, f)
}

func (c *checker) ok(format string, args ...any) {
	c.add(finding{Check: fmt.Sprintf(format, args...), Verdict: fine})
}

func (c *checker) warn(check, cause, next string) { c.add(finding{check, warning, cause, next}) }

func (c *checker) fail(check, cause, next string) { c.add(finding{check, broken, cause, next}) }

// count is how many findings are at least as bad as the level.
func (c *checker) count(level verdict) Findings {
	n := 0
	for _, cat := range c.done {
		for _, f := range cat.Findings {
			if f.Verdict == broken || f.Verdict == warning && level == warning {
				n++
			}
		}
	}
	return Findings(n)
}

type checkFlags struct {
	pre    bool
	failOn string
	wait   time.Duration
}

func newCheckCommand(a *app) *cobra.Command {
	var flags checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what is wrong, before or after the installation",
		Long: `Look at the cluster, the control plane and the proxies, and say what is wrong, why,
and what to do next.

Ends with 0 when all is well and with 3 when something was found: an error (×), or with
--fail-on=warning a warning (‼) too.`,
		Example: "  meshctl check --pre\n  meshctl check --wait 2m\n  meshctl check -o json",
		Args:    cobra.NoArgs,
	}
	cmd.Flags().BoolVar(&flags.pre, "pre", false,
		"look whether the cluster is ready for the installation")
	cmd.Flags().StringVar(&flags.failOn, "fail-on", string(broken),
		"what counts as a finding: error or warning")
	cmd.Flags().DurationVar(&flags.wait, "wait",
		0, "try again for this long while there are findings")
	out := addOutput(cmd, "table", "short", "json", "yaml")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		if flags.failOn != string(broken) && flags.failOn != string(warning) {
			return usagef(cmd, "--fail-on %q: use error or warning", flags.failOn)
		}
		return a.check(cmd.Context(), flags, out)
	}
	return cmd
}

// checkEvery is the pause between two tries of --wait.
const checkEvery = 2 * time.Second

func (a *app) check(ctx context.Context, flags checkFlags, out *output) error {
	deadline := time.Now().Add(flags.wait)
	for {
		c := &checker{app: a}
		c.run(ctx, flags.pre)
		found := c.count(verdict(flags.failOn))
		if found == 0 || time.Now().After(deadline) {
			return errors.Join(out.print(a.Out, c.done, func(w io.Writer) error {
				return c.draw(w, out.format == "short")
			}), asError(found))
		}
		select {
		case <-time.After(checkEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func asError(found Findings) error {
	if found == 0 {
		return nil
	}
	return found
}

// run goes from the ground up; where the API server cannot be reached, nothing else can be known.
func (c *checker) run(ctx context.Context, pre bool) {
	if !c.checkAPI(ctx) {
		return
	}
	if pre {
		c.checkRights(ctx)
		c.checkAbsent(ctx)
		c.checkPodSecurity(ctx)
		return
	}
	if !c.checkInstalled(ctx) {
		return
	}
	c.checkControlPlane(ctx)
	c.checkIdentity(ctx)
	c.checkWebhook(ctx)
	c.checkProxies(ctx)
	c.checkRoom(ctx)
	c.checkReporting(ctx)
	c.checkNetworks(ctx)
	c.checkPodSecurity(ctx)
	c.checkGatewayAPI(ctx)
	c.checkPolicies(ctx)
	c.checkTracing(ctx)
}

// signs go before each finding: shape and colour say the same.
var signs = map[verdict]struct{ sign, color string }{
	fine: {"√", "\x1b[32m"}, warning: {"‼", "\x1b[33m"}, broken: {"×", "\x1b[31m"},
}

func (c *checker) draw(w io.Writer, short bool) error {
	var text strings.Builder
	for _, cat := range c.done {
		lines := c.drawCategory(cat, short)
		if lines == "" {
			continue
		}
		fmt.Fprintf(&text, "%s\n%s\n%s\n", cat.Name, strings.Repeat("-", len(cat.Name)), lines)
	}
	summary := "Everything is in order."
	if errs, all := c.count(broken), c.count(warning); all > 0 {
		summary = fmt.Sprintf("Found %d error(s) and %d warning(s).", errs, all-errs)
	}
	_, err := fmt.Fprintln(w, text.String()+summary)
	return err
}

func (c *checker) drawCategory(cat category, short bool) string {
	var text strings.Builder
	for _, f := range cat.Findings {
		if short && f.Verdict == fine {
			continue
		}
		sign := signs[f.Verdict]
		fmt.Fprintf(&text, "%s %s\n", c.paint(sign.color, sign.sign), f.Check)
		if f.Cause != "" {
			fmt.Fprintf(&text, "    %s\n", strings.ReplaceAll(f.Cause, "\n", "\n    "))
		}
		if f.Next != "" {
			fmt.Fprintf(&text, "    next: %s\n", f.Next)
		}
	}
	return text.String()
}
