package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// run executes meshctl as a process would, with its streams in memory.
func run(t *testing.T, stdin string, args ...string) (out, errOut string, status int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	root := newRoot("v1",
		genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &stdout, ErrOut: &stderr})
	root.SetArgs(args)
	status = report(&stderr, root.ExecuteContext(t.Context()))
	return stdout.String(), stderr.String(), status
}

func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, sub := range cmd.Commands() {
		walk(sub, visit)
	}
}

// noOutput are the commands without -o, each with its reason.
var noOutput = map[string]string{
	"meshctl install":                   "prints YAML for kubectl",
	"meshctl uninstall":                 "prints YAML for kubectl",
	"meshctl inject":                    "prints its input's own format",
	"meshctl uninject":                  "prints its input's own format",
	"meshctl viz rules":                 "prints YAML for kubectl, or Prometheus",
	"meshctl viz dashboards":            "prints YAML for kubectl, or writes files",
	"meshctl serve":                     "servers print logs",
	"meshctl diagnostics proxy-metrics": "prints Prometheus' text format",
	"meshctl dashboard":                 "prints an address",
	"meshctl debug log-level":           "says what it did",
	"meshctl debug dump":                "writes an archive",
	"meshctl dev":                       "runs processes",
	"meshctl completion":                "prints scripts for shells",
	"meshctl fault inject":              "says what it did",
	"meshctl fault clear":               "says what it did",
	"meshctl help":                      "prints help",
	"meshctl slo rules":                 "prints YAML for Prometheus",
	"meshctl slo import":                "prints YAML for kubectl",
}

// What every command owes its user.
func TestEveryCommandKeepsTheContract(t *testing.T) {
	root := newRoot("v1", genericiooptions.NewTestIOStreamsDiscard())
	root.InitDefaultCompletionCmd()
	walk(root, func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if strings.HasPrefix(path, "meshctl completion") ||
			strings.HasPrefix(path, "meshctl help") {
			return // cobra's own
		}
		if cmd.Short == "" || cmd.Long == "" || cmd.Example == "" {
			t.Errorf("%s: needs short, long and example", path)
		}
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			if !strings.HasPrefix(line, "  ") || !strings.Contains(line, "meshctl ") {
				t.Errorf("%s: example %q", path, line)
			}
		}
		if cmd.HasSubCommands() {
			return
		}
		if flag := cmd.Flags().Lookup("output"); flag == nil && !exempt(path) {
			t.Errorf("%s: prints data and has no -o", path)
		} else if flag != nil && !strings.Contains(flag.Usage, "json") {
			t.Errorf("%s: -o offers no json", path)
		}
	})
}

func exempt(path string) bool {
	for prefix := range noOutput {
		if path == prefix || strings.HasPrefix(path, prefix+" ") {
			return true
		}
	}
	return false
}

// The examples are what people copy: each names a command that exists, with flags that exist.
func TestExamplesParse(t *testing.T) {
	root := newRoot("v1", genericiooptions.NewTestIOStreamsDiscard())
	walk(root, func(cmd *cobra.Command) {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			_, line, _ = strings.Cut(line, "meshctl ")
			for _, stop := range []string{" | ", " > ", "  #"} {
				line, _, _ = strings.Cut(line, stop)
			}
			found, args, err := root.Find(strings.Fields(line))
			if err != nil || found == root {
				t.Errorf("%s: example %q: no such command (%v)", cmd.CommandPath(), line, err)
				continue
			}
			if err := found.ParseFlags(args); err != nil {
				t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
			}
		}
	})
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		args   []string
		status int
		errOut string
	}{
		{[]string{"version", "--client"}, 0, ""},
		{[]string{"bogus"}, 2, `unknown command "bogus"`},
		{[]string{"instal"}, 2, `did you mean "install"?`},
		{[]string{"diagnostics", "bogus"}, 2, `unknown command "bogus" for "meshctl diagnostics"`},
		{[]string{"version", "--bogus"}, 2, "unknown flag: --bogus"},
		{[]string{"version", "more"}, 2, "unknown command"},
		{[]string{"inject"}, 2, "requires at least 1 arg"},
		{[]string{"version", "-o", "xml"}, 2, `unknown output format "xml"`},
		{[]string{"check", "--fail-on", "nothing"}, 2, "--fail-on"},
		{[]string{"install", "--trust-domain", "Not Good"}, 2, "--trust-domain"},
		{[]string{"install", "--cluster-domain", "Not.Good"}, 2, "--cluster-domain"},
		{[]string{"install", "--cluster-networks", "10.0.0.0"}, 2, "--cluster-networks"},
		{[]string{"install", "--outbound-policy", "some"}, 2, "--outbound-policy"},
		{[]string{"install", "--tracing-endpoint", "otel"}, 2, "--tracing-endpoint"},
		{[]string{"install", "--tracing-endpoint=a:1", "--tracing-sampling=x"}, 2,
			"--tracing-sampling"},
		{[]string{"install", "--tracing-endpoint=a:1", "--tracing-protocol=x"}, 2,
			"--tracing-protocol"},
		{[]string{"install", "--prometheus-namespace", "a.b"}, 2, "--prometheus-namespace"},
		{[]string{"install", "--prometheus-monitors"}, 2, "--prometheus-namespace"},
		{[]string{"install", "--prometheus-namespace=a", "--metrics-compat=x"}, 2,
			"--metrics-compat"},
		{[]string{"install", "--prometheus-namespace=a", "--prometheus-monitor-labels=a=/"}, 2,
			"--prometheus-monitor-labels"},
		{[]string{"install", "--metrics-push", "otel:4318"}, 2, "--metrics-push"},
		{[]string{"serve", "viz", "--metrics-compat", "x"}, 2, "--metrics-compat"},
		{[]string{"install", "--image-pull-policy", "Often"}, 2, "--image-pull-policy"},
		{[]string{"install", "--proxy-log-level", "loud"}, 2, "--proxy-log-level"},
		{[]string{"install", "--proxy-cpu-limit", "much"}, 2, "--proxy-cpu-limit"},
		{[]string{"install", "--identity-lifetime", "0s"}, 2, "--identity-lifetime"},
		{[]string{"install", "--identity-lifetime", "soon"}, 2, "invalid argument"},
		{[]string{"serve", "injector", "--log-level", "loud"}, 2, "--log-level"},
		{[]string{"serve", "viz", "--trust-domain", "?"}, 2, "--trust-domain"},
		{[]string{"install", "--viz-replicas", "4"}, 2, "--viz-replicas"},
		{[]string{"explain", "deploy/web"}, 2, "accepts between 2 and 4 arg"},
		{[]string{"explain", "svc/web", "checkout"}, 2, "a service calls nobody"},
		{[]string{"explain", "cat/web", "checkout"}, 2, `"cat" is no kind`},
		{[]string{"explain", "web", "checkout", "GET", "x"}, 2, "must begin with a slash"},
		{[]string{"explain", "web", "checkout", "-H", "x"}, 2, "NAME: VALUE"},
		{[]string{"explain", "web", "checkout", "-o", "wide"}, 2, "unknown output format"},
		{[]string{"explain", "web", "checkout", "--kubeconfig", "testdata/absent"}, 1, ""},
		{[]string{"debug", "log-level", "web", "loud"}, 2, `unknown level "loud"`},
		{[]string{"debug", "log-level", "web", "info", "--for", "-1s"}, 2, "--for"},
		{[]string{"debug", "dump", "web", "--kubeconfig", "testdata/absent"}, 1, ""},
		{[]string{"inject", "testdata/absent.yaml"}, 1, "absent.yaml"},
		{[]string{"check", "--kubeconfig", "testdata/absent"}, 3, ""},
		{[]string{"identity", "web", "--kubeconfig", "testdata/absent"}, 1, ""},
	} {
		out, errOut, status := run(t, "", c.args...)
		if status != c.status || !strings.Contains(errOut, c.errOut) {
			t.Errorf("%v: status %d, want %d; standard error %q, want %q", c.args, status, c.status,
				errOut, c.errOut)
		}
		if status == 2 && out != "" {
			t.Errorf("%v: standard output %q", c.args, out)
		}
		if status == 2 && !strings.Contains(errOut, "--help") {
			t.Errorf("%v: a usage error that names no help: %q", c.args, errOut)
		}
	}
}

func TestExitStatusOfErrors(t *testing.T) {
	cmd := &cobra.Command{Use: "x"}
	for err, want := range map[error]int{
		nil: 0, errors.New("x"): 1, usagef(cmd, "x"): 2, Findings(2): 3,
		fmt.Errorf("print: %w", Findings(1)):          3,
		errors.Join(errors.New("print"), Findings(1)): 3,
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestVersionAsJSON(t *testing.T) {
	out, _, status := run(t, "", "version", "--client", "-o", "json")
	if status != 0 || out != "{\n  \"client\": \"v1\"\n}\n" {
		t.Errorf("status %d: %q", status, out)
	}
}
