package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

// explainHelp says what explain answers.
const explainHelp = `Say what becomes of a request, step by step, and which field of which object
decides it: what the name leads to, the rule that the request falls under, faults, timeouts,
retries, backends and how their endpoints are used, mutual TLS, who may call, rate limits. Nothing
is sent.

It is answered for SRC: destination is asked what it tells that very caller's proxy, and the
callee's, and the stages of the proxy itself decide. SRC is deploy/NAME (or sts, ds, job, ...: one
of its pods stands for all), pod/NAME or sa/NAME, in the namespace of -n. DST is svc/NAME[:PORT], a
name or an address, each with its port, or 80. Without METHOD and PATH the request is a GET of /.

What the endpoints are doing now only proxies know: the live figures of SRC's calls, and the last
request like it, come from viz.

Ends with 3 if the request, or a share of such requests, does not go through.`

// explainFlags are the command's.
type explainFlags struct {
	headers    []string
	serverName string
	toSpace    string
	vizAddr    string
}

func newExplainCommand(a *app) *cobra.Command {
	var f explainFlags
	cmd := &cobra.Command{
		Use:   "explain SRC DST [METHOD PATH]",
		Short: "Say what becomes of a request, and which object decides each step",
		Long:  explainHelp,
		Example: "  meshctl explain deploy/web svc/checkout:8080 -n shop\n" +
			"  meshctl explain deploy/web checkout.shop.svc:8080 POST /order -H 'x-user: ann'\n" +
			"  meshctl explain pod/web-0 10.96.0.10:5432 -o json",
		Args: cobra.RangeArgs(2, 4),
	}
	out := addOutput(cmd, "table", "json", "yaml")
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "a header of the request, NAME: VALUE")
	flags.StringVar(&f.serverName, "server-name", "",
		"it is a connection of the application's own TLS, for this name")
	flags.StringVar(&f.toSpace, "to-namespace", "", "namespace of svc/NAME (default: SRC's)")
	flags.StringVar(&f.vizAddr, "viz-addr", "", "ask the viz at this host:port for live figures")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		who, err := parseSource(cmd, args[0])
		if err != nil {
			return err
		}
		r, err := f.request(cmd, args[2:])
		if err != nil {
			return err
		}
		return a.explain(cmd.Context(), &f, explanation{who: who, to: args[1], request: r}, out)
	}
	return cmd
}

// explanation is what is asked for, and what is answered.
type explanation struct {
	who     url.Values
	to      string
	request explain.Request
}

// explained is the answer, with what viz knows.
type explained struct {
	*explain.Path
	Live *viz.Figures   `json:"live,omitempty"` // of SRC's calls to DST, in the last minute
	Last *viz.TapRecord `json:"last,omitempty"` // the last one like it that viz has kept
}

// lastText is what is shown of a record of viz's.
func lastText(l *viz.TapRecord) string {
	out := fmt.Sprintf("%s %s %s: %d in %.1fms", l.Time.Local().Format("15:04:05"), l.Method,
		l.Path, l.Status, 1000*l.Duration)
	if l.Tries > 1 {
		out += fmt.Sprintf(", %d tries", l.Tries)
	}
	if l.ServerPod != "" {
		out += ", by " + l.ServerPod
	}
	if l.Reason != "" {
		out += ", " + l.Reason + ": " + l.Error
	}
	return out
}

// sources are the kinds of callers.
var sources = []string{"deployment", "statefulset", "daemonset", "job", "cronjob", "replicaset",
	"replicationcontroller", "pod"}

// parseSource makes a question's words of who asks.
func parseSource(cmd *cobra.Command, text string) (url.Values, error) {
	short, name, ok := strings.Cut(text, "/")
	if !ok {
		return url.Values{"pod": {text}}, nil
	}
	switch short {
	case "sa", "serviceaccount":
		return url.Values{"account": {name}}, nil
	}
	kind, name, err := viz.ParseResource(text)
	if err != nil {
		return nil, usagef(cmd, "SRC: %w", err)
	}
	if kind == "pod" {
		return url.Values{"pod": {name}}, nil
	}
	for _, k := range sources {
		if k == kind {
			return url.Values{"workload": {kind + "/" + name}}, nil
		}
	}
	return nil, usagef(cmd, "SRC: a %s calls nobody: name a workload, a pod or a service account",
		kind)
}

// request reads METHOD and PATH, and the flags about them.
func (f *explainFlags) request(cmd *cobra.Command, args []string) (explain.Request, error) {
	r := explain.Request{Method: "GET", Path: "/", ServerName: f.serverName}
	for _, arg := range args {
		if strings.HasPrefix(arg, "/") {
			r.Path = arg
		} else {
			r.Method = arg
		}
	}
	if len(args) == 2 && !strings.HasPrefix(args[1], "/") {
		return r, usagef(cmd, "PATH %q must begin with a slash", args[1])
	}
	if f.serverName != "" {
		r.Method, r.Path = "", ""
	}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return r, usagef(cmd, "--header %q: write NAME: VALUE", h)
		}
		r.Headers = append(r.Headers, explain.Header{
			Name: strings.ToLower(strings.TrimSpace(name)), Value: strings.TrimSpace(value)})
	}
	return r, nil
}

// explain asks destination, has the way explained, and prints it.
func (a *app) explain(
	ctx context.Context, f *explainFlags, x explanation, out *output,
) error {
	link, err := a.connectDestination(ctx)
	if err != nil {
		return err
	}
	defer link.stop()
	x.who.Set("namespace", link.namespace)
	if name, ok := strings.CutPrefix(x.to, "svc/"); ok {
		host, port, _ := strings.Cut(withPort(name), ":")
		x.to = host + "." + cmp.Or(f.toSpace, link.namespace) + ".svc:" + port
	}
	setKey(x.who, x.to)
	told, err := link.ask(ctx, x.who)
	if err != nil {
		return fmt.Errorf("ask destination: %w", err)
	}
	if pod := x.who.Get("pod"); pod != "" && told.Asker.Pod == "" {
		return fmt.Errorf("no pod %s is known in namespace %s", pod, link.namespace)
	}
	key := keyOf(x.who)
	if x.request.Method != "" {
		x.request.Authority = key.GetAuthority()
	}
	path, err := explain.Explain(explain.Question{
		Key: key, Request: x.request, Told: told, Now: time.Now(),
		Inbound: func(pod registry.Name, port uint32) (*explain.Told, error) {
			return link.ask(ctx, url.Values{"namespace": {pod.Namespace}, "pod": {pod.Name},
				"inboundPort": {strconv.Itoa(int(port))}})
		},
	})
	if err != nil {
		return err
	}
	answer := explained{Path: path}
	a.live(ctx, f, &answer)
	if err := out.print(a.Out, answer, func(w io.Writer) error {
		return a.drawPath(w, &answer)
	}); err != nil {
		return err
	}
	if n := len(path.Failures()); n > 0 {
		return Findings(n)
	}
	return nil
}

func keyOf(query url.Values) *api.Key {
	if address := query.Get("address"); address != "" {
		return &api.Key{Key: &api.Key_Address{Address: address}}
	}
	return &api.Key{Key: &api.Key_Authority{Authority: query.Get("authority")}}
}

// live is what viz knows of the caller's calls to the Service: the figures of the last minute, and
// the last request like this one. What it does not know, or does not answer, is left out.
func (a *app) live(ctx context.Context, f *explainFlags, x *explained) {
	q := viz.Query{From: x.From.Kind + "/" + x.From.Name, FromNamespace: x.From.Namespace}
	for _, o := range x.Steps[0].By {
		if o.Kind == "Service" {
			q.Resource, q.Namespace = "svc/"+o.Name, o.Namespace
		}
	}
	if q.Resource == "" || x.From.Name == "" {
		return
	}
	addr, stop, err := a.vizAddr(ctx, f.vizAddr)
	if err != nil {
		fmt.Fprintln(a.ErrOut, "no live figures:", err)
		return
	}
	defer stop()
	client := viz.NewClient(addr)
	stat, err := client.Stat(ctx, q)
	if err != nil {
		fmt.Fprintln(a.ErrOut, "no live figures:", err)
		return
	}
	if len(stat.Rows) > 0 {
		x.Live = &stat.Rows[0].Figures
	}
	path, _, _ := strings.Cut(x.Request.Path, "?")
	last, err := client.Requests(ctx, viz.RequestQuery{From: q.From,
		FromNamespace: q.FromNamespace, To: q.Resource, ToNamespace: q.Namespace,
		Method: x.Request.Method, Path: path, Limit: 1})
	// A viz of before keeps no requests.
	if err == nil && len(last.Requests) > 0 {
		x.Last = last.Requests[0]
	}
}

// vizAddr is where viz answers questions: where the user says, in the mesh of `meshctl dev up` in
// this folder, or by a port-forward.
func (a *app) vizAddr(
	ctx context.Context, said string,
) (addr string, stop func(), err error) {
	if said == "" {
		if said, err = a.devAddr(); err != nil {
			return "", nil, err
		}
	}
	if said != "" {
		return said, func() {}, nil
	}
	return a.forward(ctx, names.Viz, config.VizQueryPort)
}

// drawPath prints the way for people.
func (a *app) drawPath(w io.Writer, x *explained) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n\n", askerText(x), requestText(x))
	for i := range x.Steps {
		a.drawStep(&b, &x.Steps[i])
	}
	if x.Live != nil {
		fmt.Fprintf(&b, "\nIn the last minute: %s, %s succeeded, p50 %s, p99 %s.\n",
			perSecond(x.Live.RPS), percent(x.Live.SuccessRate), millis(x.Live.P50Ms),
			millis(x.Live.P99Ms))
		if x.Live.Ejected > 0 {
			fmt.Fprintf(&b, "Of %d endpoints %d are ejected now.\n", x.Live.Endpoints,
				x.Live.Ejected)
		}
	}
	if x.Last != nil {
		fmt.Fprintf(&b, "The last one like it: %s.\n", lastText(x.Last))
	}
	fmt.Fprintln(&b)
	failed := x.Failures()
	for _, s := range failed {
		fmt.Fprintf(&b, "%s\n  next: %s\n", failureText(s), s.Fails.Next)
	}
	if len(failed) == 0 {
		fmt.Fprintln(&b, "It goes through.")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func askerText(x *explained) string {
	from := &x.From
	who, in := "somebody of namespace "+from.Namespace, ""
	if from.Name != "" {
		who, in = from.Kind+"/"+from.Name, " in "+from.Namespace
		if from.Pod != "" && from.Pod != from.Name {
			in += ", as pod " + from.Pod
		}
	}
	return who + in + " (" + cmp.Or(from.Identity, "no identity") + ")"
}

func requestText(x *explained) string {
	switch r := &x.Request; {
	case r.ServerName != "":
		return "opens a connection of its own TLS for " + r.ServerName + " to " + x.To
	default:
		return "asks " + x.To + " for " + r.Method + " " + r.Path
	}
}

// stageWidth aligns what the steps say.
const stageWidth = 14

func (a *app) drawStep(b *strings.Builder, s *explain.Step) {
	mark := signs[fine]
	if s.Fails != nil {
		mark = signs[broken]
		if s.Fails.Share < 1 {
			mark = signs[warning]
		}
	}
	fmt.Fprintf(b, "%s %-*s %s\n", a.paint(mark.color, mark.sign), stageWidth, s.Stage, s.Says)
	for _, o := range s.By {
		fmt.Fprintf(b, "  %-*s by %s\n", stageWidth, "", o)
	}
}

func failureText(s *explain.Step) string {
	f := s.Fails
	status := ""
	if f.Status != 0 {
		status = fmt.Sprintf(" (%d)", f.Status)
	}
	if f.Share >= 1 {
		return fmt.Sprintf("It does not go through: %s%s, at %s.", f.Reason, status, s.Stage)
	}
	return fmt.Sprintf("Of such requests %.4g %% do not go through: %s%s, at %s.", 100*f.Share,
		f.Reason, status, s.Stage)
}
