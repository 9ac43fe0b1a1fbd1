package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

// vizTap shows single requests.
type vizTap struct {
	*vizApp
	out     *output
	sides   vizSides
	query   viz.TapQuery
	status  string
	latency string
	input   string
	events  bool
	ascii   bool
}

func newVizTapCommand(v *vizApp) *cobra.Command {
	t := &vizTap{vizApp: v}
	cmd := &cobra.Command{
		Use:   "tap [KIND[/NAME]]",
		Short: "Watch single requests as they end: who called whom, how it went, and why",
		Long: `Watch requests as they end, one line for each: when it began, who called whom, what
it asked, the status, how long it took, how often it was tried, why it did not go well, and how the
connection was protected. The proxies of both sides are asked, and what they saw of a request is
one line. All conditions must hold.

Only what is asked for leaves a proxy, and no more than --max-rps of it; the last line, on standard
error, says how much more there was. No header, no query and no body is ever shown, but the
caller's name for itself and x-request-id.

On Kubernetes the API server decides who may: while it runs, the command has a TapSession in the
namespace of what is watched, or with -A a ClusterTapSession, which you must be able to create (the
ClusterRole tulle-tap), and an Event says that there is a tap.

A service is watched at those that call it. --input-file shows what an earlier tap, or an access
log, has written with -o json, under the same conditions.`,
		Example: "  meshctl viz tap deploy/web -n shop\n" +
			"  meshctl viz tap deploy/web --to svc/checkout --status 5xx\n" +
			"  meshctl viz tap -A --latency '>250ms' --limit 20\n" +
			"  meshctl viz tap svc/checkout -o json > tap.ndjson\n" +
			"  meshctl viz tap --input-file tap.ndjson --failed -o wide",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.prepare(cmd, args); err != nil {
				return err
			}
			return t.run(cmd.Context())
		},
		ValidArgs: []string{"ns", "deploy", "sts", "ds", "job", "cronjob", "svc", "pod"},
	}
	t.out = addOutput(cmd, "line", "wide", "json")
	t.sides.addFrom(cmd)
	t.sides.addTo(cmd)
	t.addFlags(cmd)
	return cmd
}

func (t *vizTap) addFlags(cmd *cobra.Command) {
	f, q := cmd.Flags(), &t.query
	f.StringSliceVar(&q.Methods, "method", nil, "only these methods, for example GET,POST")
	f.StringVar(&q.Path, "path", "", "only paths that begin so")
	f.StringVar(&q.Authority, "authority", "",
		"only this host, or host and port, as callers name it")
	f.StringVar(&t.status, "status", "", "only this status of HTTP: 404, 5xx or 400-499")
	f.StringSliceVar(&q.Reasons, "reason", nil,
		"only these reasons, for example no_endpoints,request_timeout")
	f.StringVar(&q.Route, "route", "", "only this route; [default] is what no route matches")
	f.StringVar(&q.Identity, "identity", "", "only with this SPIFFE ID at either side")
	f.StringVar(&q.RequestID, "request-id", "", "only this x-request-id")
	f.StringVar(&q.TraceID, "trace-id", "", "only this trace, if it is traced")
	f.BoolVar(&q.Failed, "failed", false, "only what counts as a failure")
	f.BoolVar(&q.Retried, "retries", false, "only what was tried more than once")
	f.StringVar(&t.latency, "latency", "", "only what took so long, for example '>100ms'")
	f.Uint32Var(&q.RPS, "max-rps", viz.DefaultTapRPS,
		fmt.Sprintf("requests a second that one proxy shows, at most, up to %d", viz.MaxTapRPS))
	f.Uint64Var(&q.Limit, "limit", 0, "end after so many requests")
	f.DurationVar(&q.Duration, "duration", 0,
		fmt.Sprintf("end after this time, which is at most %s", viz.MaxTapDuration))
	f.StringVar(&t.input, "input-file", "", "read requests from this file, or - for standard input")
	f.BoolVar(&t.ascii, "ascii", false, "ASCII only (as where the locale is not UTF-8)")
	f.BoolVar(&t.events, "events", false, "three lines for each request: req, rsp and end")
}

// prepare checks what was asked before anything is reached.
func (t *vizTap) prepare(cmd *cobra.Command, args []string) error {
	if err := t.out.check(cmd); err != nil {
		return err
	}
	q := &t.query
	q.From, q.FromNamespace, q.To, q.ToNamespace = t.sides.from, t.sides.fromNamespace, t.sides.to,
		t.sides.toNamespace
	if len(args) > 0 {
		q.Resource = args[0]
	}
	for i, method := range q.Methods {
		q.Methods[i] = strings.ToUpper(method)
	}
	var err error
	if q.MinStatus, q.MaxStatus, err = viz.ParseStatuses(t.status); err != nil {
		return usagef(cmd, "--status: %w", err)
	}
	if text := strings.TrimLeft(t.latency, ">= "); text != "" {
		if q.Latency, err = time.ParseDuration(text); err != nil {
			return usagef(cmd, "--latency %q: for example '>100ms'", t.latency)
		}
	}
	if err := q.Check(); err != nil {
		return usagef(cmd, "%w", err)
	}
	return nil
}

func (t *vizTap) run(ctx context.Context) error {
	p := &tapPrinter{app: t.app, wide: t.out.wide(), events: t.events, arrow: "→",
		json: t.out.format == "json"}
	if t.ascii || !utf8Locale(os.Getenv) {
		p.arrow = "->"
	}
	if t.input != "" {
		return t.replay(p)
	}
	link, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	of, err := t.vizApp.query()
	if err != nil {
		return err
	}
	t.query.Namespace = of.Namespace
	last, err := t.watch(ctx, link, p)
	if errors.Is(err, viz.ErrSession) {
		last, err = t.watchByLeave(ctx, link, p)
	}
	if err != nil && ctx.Err() == nil {
		return t.explain(err)
	}
	last.Matched = max(last.Matched, p.shown)
	fmt.Fprintln(t.ErrOut, footer(p.shown, last))
	if p.shown == 0 {
		fmt.Fprintln(t.ErrOut, t.whyNothing(last))
	}
	return nil
}

// watch shows what viz tells, and gives what was counted last.
func (t *vizTap) watch(
	ctx context.Context, link *vizLink, p *tapPrinter,
) (last viz.TapCounts, err error) {
	err = link.current().Tap(ctx, &t.query, func(line viz.TapLine) error {
		if line.Record == nil {
			last = line.Counts
			return nil
		}
		return p.print(line.Record)
	})
	return last, err
}

// watchByLeave does so by a session that it makes for it.
func (t *vizTap) watchByLeave(
	ctx context.Context, link *vizLink, p *tapPrinter,
) (viz.TapCounts, error) {
	namespaces, err := t.query.Namespaces()
	if err != nil {
		return viz.TapCounts{}, err
	}
	leave, err := t.grantTap(ctx, namespaces)
	if err != nil {
		return viz.TapCounts{}, err
	}
	defer leave.revoke(t.app)
	t.query.Nonce = leave.nonce
	return t.watch(ctx, link, p)
}

// footer says how much there was.
func footer(shown uint64, c viz.TapCounts) string {
	text := fmt.Sprintf("shown %s of %s", thousands(shown), thousands(c.Matched))
	if c.Dropped > 0 {
		text += fmt.Sprintf("; %s dropped on the way", thousands(c.Dropped))
	}
	if c.Ended != "" {
		text += "; " + c.Ended
	}
	return text
}

func (t *vizTap) whyNothing(c viz.TapCounts) string {
	if c.Proxies == 0 {
		return "no proxy shows requests to viz: 'meshctl check --proxy' tells which pods have one"
	}
	return fmt.Sprintf("no request that ended was one of these, at %d proxies %s", c.Proxies,
		t.where())
}

// replay shows what was written before.
func (t *vizTap) replay(p *tapPrinter) error {
	t.query.Namespace = *t.config.Namespace
	in := t.In
	if t.input != "-" {
		f, err := os.Open(t.input)
		if err != nil {
			return fmt.Errorf("--input-file: %w", err)
		}
		defer f.Close()
		in = f
	}
	all, err := t.replayFrom(in, p)
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("--input-file %s: %w", t.input, err)
	}
	fmt.Fprintln(t.ErrOut, footer(p.shown, viz.TapCounts{Matched: all}))
	return nil
}

// errEnough ends a replay at its limit.
var errEnough = errors.New("that is all that was asked for")

// maxReplayLine bounds a line of a file, bytes.
const maxReplayLine = 1 << 20

// replayFrom shows what matches of all requests that it reads.
func (t *vizTap) replayFrom(in io.Reader, p *tapPrinter) (all uint64, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxReplayLine)
	for n := 1; lines.Scan(); n++ {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		line, err := viz.ParseTapLine(text)
		if err != nil {
			return all, fmt.Errorf("line %d is no request of a tap or of an access log: %w", n, err)
		}
		if line.Record == nil {
			continue
		}
		all++
		if !t.query.Matches(line.Record) {
			continue
		}
		if err := p.print(line.Record); err != nil {
			return all, err
		}
		if p.shown == t.query.Limit {
			return all, errEnough
		}
	}
	return all, lines.Err()
}
