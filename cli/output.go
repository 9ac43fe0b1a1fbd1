package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// output is a command's -o flag: the formats it offers, the first by default. cli-runtime's
// printers would offer more, but print Kubernetes objects, with a kind and a name: what meshctl
// shows are answers, which have neither.
type output struct {
	format  string
	formats []string
}

// addOutput gives a command its -o flag.
func addOutput(cmd *cobra.Command, formats ...string) *output {
	o := &output{format: formats[0], formats: formats}
	cmd.Flags().StringVarP(&o.format, "output", "o", formats[0],
		"output format: "+strings.Join(formats, ", "))
	// RegisterFlagCompletionFunc fails only for a flag that does not exist.
	_ = cmd.RegisterFlagCompletionFunc("output",
		cobra.FixedCompletions(toCompletions(formats), cobra.ShellCompDirectiveNoFileComp))
	return o
}

func toCompletions(formats []string) []cobra.Completion {
	out := make([]cobra.Completion, len(formats))
	copy(out, formats)
	return out
}

// check refuses a format that the command does not offer; call it before any work.
func (o *output) check(cmd *cobra.Command) error {
	if slices.Contains(o.formats, o.format) {
		return nil
	}
	return usagef(cmd, "unknown output format %q: use one of %s", o.format,
		strings.Join(o.formats, ", "))
}

// wide says whether the user asked for every column.
func (o *output) wide() bool { return o.format == "wide" }

// print writes v as JSON or YAML, and otherwise lets table draw it.
func (o *output) print(w io.Writer, v any, table func(io.Writer) error) error {
	switch o.format {
	case "json":
		return printJSON(w, v)
	case "yaml":
		return printYAML(w, v)
	}
	return table(w)
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

func printYAML(w io.Writer, v any) error {
	text, err := yaml.Marshal(v)
	if err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	_, err = w.Write(text)
	return err
}

// printTable aligns rows in columns, the head in capitals, as kubectl does.
func printTable(w io.Writer, head []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, strings.Join(head, "\t"))
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}
