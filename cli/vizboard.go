package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz/board"
)

// boardFlags say how what Prometheus and Grafana are told is written.
type boardFlags struct {
	*vizApp
	labels map[string]string
}

func (b *boardFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringToStringVar(&b.labels, "labels", nil,
		"labels of the objects, by which they are selected: release=NAME")
}

// object is in the namespace of -n, if one is given: kubectl's own otherwise.
func (b *boardFlags) object() board.Object {
	return board.Object{Namespace: *b.config.Namespace, Labels: b.labels}
}

func newVizRulesCommand(v *vizApp) *cobra.Command {
	b := &boardFlags{vizApp: v}
	var plain bool
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Print alerts for Prometheus",
		Long: `Print the stock alerts, and the series that Prometheus computes for them and for the
dashboards: a PrometheusRule for the Prometheus operator, or with --plain a file for rule_files.

They ask for the series of viz's page: 'meshctl install --prometheus-namespace' lets Prometheus
read it.`,
		Example: "  meshctl viz rules --labels release=prometheus | kubectl apply -f -\n" +
			"  meshctl viz rules --plain > tulle.rules.yaml",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if plain {
				return printText(v.Out)(board.RuleFile(board.Rules()))
			}
			return printText(v.Out)(board.PrometheusRule(board.Rules(), b.object()))
		},
	}
	b.add(cmd)
	cmd.Flags().BoolVar(&plain, "plain", false, "print a file for Prometheus's rule_files")
	return cmd
}

// printText writes what could be made.
func printText(w io.Writer) func([]byte, error) error {
	return func(text []byte, err error) error {
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
}

func newVizDashboardsCommand(v *vizApp) *cobra.Command {
	b := &boardFlags{vizApp: v}
	var dir string
	cmd := &cobra.Command{
		Use:   "dashboards",
		Short: "Print dashboards for Grafana",
		Long: `Print the nine dashboards: ConfigMaps as Grafana's sidecar finds them, or with --dir
a file of JSON for each, to be imported or provisioned.

Some of their series are those of 'meshctl viz rules': Prometheus needs these too.`,
		Example: "  meshctl viz dashboards -n monitoring | kubectl apply -f -\n" +
			"  meshctl viz dashboards --dir dashboards",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if dir != "" {
				return b.writeBoards(dir)
			}
			return b.printBoards()
		},
	}
	b.add(cmd)
	cmd.Flags().StringVar(&dir, "dir", "", "folder to write files of JSON to")
	return cmd
}

func (b *boardFlags) printBoards() error {
	for _, one := range board.Boards() {
		text, err := one.ConfigMap(b.object())
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(b.Out, "---\n%s", text); err != nil {
			return err
		}
	}
	return nil
}

func (b *boardFlags) writeBoards(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for dashboards: %w", err)
	}
	for _, one := range board.Boards() {
		text, err := one.JSON()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, one.UID+".json"), text, 0o644); err != nil {
			return fmt.Errorf("write a dashboard: %w", err)
		}
	}
	return nil
}
