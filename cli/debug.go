package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// maxLevelTime is the longest for which proxies take a level.
const maxLevelTime = 24 * time.Hour

func newDebugCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Look into a running proxy: its log level for a while, all it knows in one archive",
		Long: `Look into running proxies: on Kubernetes by port-forwards to their admin ports, or in
the mesh of 'meshctl dev up' in this folder. Nothing has to be restarted.`,
		Example: "  meshctl debug log-level deploy/web debug --for 5m\n" +
			"  meshctl debug dump deploy/web -o web.tar.gz",
	}
	cmd.AddCommand(newLogLevelCommand(a), newDumpCommand(a))
	return cmd
}

func newLogLevelCommand(a *app) *cobra.Command {
	var d time.Duration
	cmd := &cobra.Command{
		Use:   "log-level POD | KIND/NAME LEVEL",
		Short: "Set the log level of a proxy for some minutes",
		Long: `Set the log level of a pod's proxy, or of each proxy of a workload, to debug, info,
warn or error. After the time the proxies fall back by themselves, whatever becomes of this command.
With --for 0 the level stays until the pod ends, or its annotation tulle.dev/proxy-log-level
changes.`,
		Example: "  meshctl debug log-level web-6f7d9c-x2x4z debug\n" +
			"  meshctl debug log-level deploy/web debug --for 30m -n shop",
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			level := strings.ToLower(args[1])
			if !slices.Contains(levels, level) {
				return usagef(cmd, "unknown level %q: use one of %s", args[1],
					strings.Join(levels, ", "))
			}
			if d < 0 || d > maxLevelTime {
				return usagef(cmd, "--for %s: use 0 to %s", d, maxLevelTime)
			}
			all, err := a.proxyAdmins(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for i := range all {
				said, err := all[i].setLevel(cmd.Context(), level, d)
				if err != nil {
					return err
				}
				fmt.Fprintf(a.Out, "%s/%s: %s\n", all[i].namespace, all[i].pod, said)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&d, "for", 5*time.Minute, "how long, up to 24h; 0: for good")
	return cmd
}
