package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/viz"
)

// devApp is what the dev commands share.
type devApp struct {
	*app
	dir string
}

func newDevCommand(a *app) *cobra.Command {
	d := &devApp{app: a}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run the mesh on this machine, without Kubernetes and without root",
		Long: `Run the mesh on this machine, without Kubernetes and without root.

'meshctl dev up' reads a mesh.yaml, runs the control plane in its own process and starts a proxy
beside every service. The other commands are for another terminal, in the same folder.`,
		Example: "  meshctl dev up -f mesh.yaml\n  meshctl dev check\n  meshctl dev down",
	}
	cmd.PersistentFlags().StringVar(&d.dir, "state-dir", dev.DefaultDir,
		"folder for ports, logs and generated files, while the mesh runs")
	cmd.AddCommand(newDevUpCommand(d), newDevDownCommand(d), newDevCheckCommand(d),
		newDevStatusCommand(d), newDevRestartCommand(d))
	return cmd
}

// devUpHelp says what a mesh.yaml holds.
const devUpHelp = `Start the mesh that a mesh.yaml describes, and end it on Ctrl-C.

mesh.yaml:
  namespace: shop              # "default" where left out
  # folders of ServiceProfiles, HTTPRoutes, policies and objectives; edits count at once
  profiles: profiles
  # Requests are traced, and 'meshctl viz traces' shows them; with endpoint: HOST:PORT beside it an
  # OpenTelemetry collector gets the spans, too.
  tracing: {sampling: 100%}
  consul: {address: "http://127.0.0.1:8500"}  # whose services can be called; $CONSUL_HTTP_TOKEN
  services:
    web:
      command: [./web]         # told where to listen by $PORT, and whom to call by CHECKOUT_URL
      calls: [checkout, rates.service.consul]
    checkout:
      command: [./checkout, --port, $PORT]
      replicas: 2
      env: {GREETING: hello}
      # As in a Service: it speaks nothing but HTTP/2. Otherwise it is spoken to in its caller's
      # protocol.
      appProtocol: kubernetes.io/h2c
      # An instance that is not well gets no calls: http PATH, grpc SERVICE ("" for all), tcp: true,
      # or exec, a command that must end with status 0. Three failures in a row, two successes.
      check: {http: /healthz, interval: 1s}
      logLevel: debug          # of its proxies: debug, info, warn, error
      accessLog: json          # a line for each request, in its proxies' logs; or text, none
    payments:
      # One name, several versions: a ServiceProfile's dstOverrides splits the traffic.
      variants:
        v1: {command: [./payments, v1]}
        v2: {command: [./payments, v2]}
    database:
      address: 127.0.0.1:5432  # runs already
    legacy:
      command: [./legacy]
      meshed: false            # gets no proxy
  try: [what to suggest once it runs]

A command without a slash is looked for beside meshctl and in PATH, one with a slash from
mesh.yaml's folder.`

func newDevUpCommand(d *devApp) *cobra.Command {
	o := dev.Options{}
	var live time.Duration
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a mesh, and end it on Ctrl-C",
		Long:  devUpHelp,
		Example: "  meshctl dev up\n  meshctl dev up -f test/demo/mesh.yaml --live 5s\n" +
			"  meshctl dev up --record",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if live < 0 || live > 0 && live < time.Second {
				return usagef(
					cmd, "--live %s: proxies report each second, so use 1s or more, or 0 for never",
					live)
			}
			o.Dir, o.Version, o.Out, o.Err = d.dir, d.version, d.Out, d.ErrOut
			if live > 0 {
				o.Live = func(ctx context.Context, addr string) { d.live(ctx, addr, live) }
			}
			return dev.Up(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.File, "file", "f", "mesh.yaml", "the mesh to run")
	flags.StringVar(
		&o.Proxy, "proxy", "", "mesh-proxy to use (default: the one beside meshctl, or in PATH)")
	flags.StringVar(&o.LogLevel, "proxy-log-level", "info",
		"log level of the proxies: debug, info, warn, error")
	flags.DurationVar(
		&live, "live", 0, "print the golden metrics of every service this often, for example 5s")
	flags.StringVar(
		&o.Marker, "record", "",
		"relay all connections between instances, and count where this text passes in plaintext")
	flags.Lookup("record").NoOptDefVal = dev.DefaultMarker
	return cmd
}

// live prints the golden metrics again and again, until the context ends.
func (d *devApp) live(ctx context.Context, addr string, every time.Duration) {
	client := viz.NewClient(addr)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		stat, err := client.Stat(ctx, viz.Query{Resource: "deploy", Window: viz.MinWindow})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			fmt.Fprintln(d.Out)
			err = (&statTable{now: time.Now()}).print(d.Out, stat.Rows)
		}
		if err != nil {
			fmt.Fprintln(d.ErrOut, "no figures this time:", err) // viz may be restarting
		}
	}
}

func newDevDownCommand(d *devApp) *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End the mesh that runs in this folder",
		Long: "End the mesh that runs in this folder, wherever it was started, and clear " +
			"what a killed one left. Without one it does nothing.",
		Example: "  meshctl dev down",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			said, err := dev.Down(cmd.Context(), d.dir)
			if err == nil {
				fmt.Fprintln(d.ErrOut, said)
			}
			return err
		},
	}
}

func newDevCheckCommand(d *devApp) *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check that every call of the running mesh is protected as it should be",
		Long: `Check the mesh that runs in this folder: every proxy is ready, every call in
mesh.yaml that was made between meshed services was encrypted, with the right SPIFFE ID at both
ends. With 'meshctl dev up --record' the bytes between the proxies are looked at, too. Where
requests are traced, services that do not pass on the headers of traces are named.

Ends with 3 when something is not as it should be.`,
		Example: "  meshctl dev check",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := dev.Check(cmd.Context(), d.dir, wait)
			if err != nil {
				return err
			}
			return printDevFindings(d.Out, findings)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 15*time.Second,
		"how long to wait for calls that were not made yet")
	return cmd
}

func printDevFindings(w io.Writer, findings []dev.Finding) error {
	failed := 0
	for _, f := range findings {
		mark := "√"
		if f.Warning {
			mark = "‼"
		}
		if !f.OK {
			mark = "×"
			failed++
		}
		fmt.Fprintf(w, "%s %s\n", mark, f.Text)
	}
	if failed > 0 {
		return Findings(failed)
	}
	return nil
}

func newDevStatusCommand(d *devApp) *cobra.Command {
	var o *output
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the instances of the running mesh and where they listen",
		Long: "List the instances of the mesh that runs in this folder: where each listens, " +
			"and whether its proxy is ready.",
		Example: "  meshctl dev status\n  meshctl dev status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd); err != nil {
				return err
			}
			return d.status(cmd.Context(), o)
		},
	}
	o = addOutput(cmd, "table", "json", "yaml")
	return cmd
}

func (d *devApp) status(ctx context.Context, o *output) error {
	ports, instances, err := dev.ReadStatus(ctx, d.dir)
	if err != nil {
		return err
	}
	return o.print(d.Out, ports, func(w io.Writer) error {
		var rows [][]string
		for _, i := range instances {
			rows = append(rows, []string{i.Name, i.Service, i.App, orDash(i.Mesh), orDash(i.Admin),
				i.Reason})
		}
		return printTable(w, []string{"INSTANCE", "SERVICE", "LISTENS", "PROXY", "ADMIN", "STATE"},
			rows)
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func newDevRestartCommand(d *devApp) *cobra.Command {
	return &cobra.Command{
		Use:   "restart viz|destination|INSTANCE",
		Short: "Restart a part of the running mesh",
		Long: "Restart a server of the control plane, or an instance's own process, of the " +
			"mesh that runs in this folder.",
		Example: "  meshctl dev restart viz\n  meshctl dev restart web-0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return dev.Restart(cmd.Context(), d.dir, args[0])
		},
	}
}
