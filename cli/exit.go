package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The statuses meshctl ends with.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitFindings = 3
)

// Findings is the error of a command that did its work and found something wrong; what it found is
// printed already.
type Findings int

func (f Findings) Error() string {
	if f == 1 {
		return "1 finding"
	}
	return fmt.Sprintf("%d findings", int(f))
}

// usageError is a command that was asked wrongly.
type usageError struct {
	command string
	err     error
}

func (u usageError) Error() string {
	return fmt.Sprintf("%v\nSee '%s --help'.", u.err, u.command)
}

func (u usageError) Unwrap() error { return u.err }

// usagef is what a command returns for arguments that make no sense.
func usagef(cmd *cobra.Command, format string, args ...any) error {
	return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// exitStatus maps a command's error to the process's status.
func exitStatus(err error) int {
	var findings Findings
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &findings):
		return exitFindings
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitError
}

// report prints an error once, and says how to exit.
func report(w io.Writer, err error) int {
	status := exitStatus(err)
	if status == exitError || status == exitUsage {
		fmt.Fprintln(w, "meshctl:", err)
	}
	return status
}

// checkUsage makes wrong flags, wrong arguments and unknown commands usage errors, everywhere in
// the tree: cobra returns them as plain errors, and legacy rules let a group swallow a misspelt
// subcommand.
func checkUsage(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return usagef(c, "%w", err) })
	if !cmd.Runnable() {
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, runGroup
	} else if check := cmd.Args; check != nil {
		cmd.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usagef(c, "%w", err)
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		checkUsage(sub)
	}
}

// runGroup is what a command that only groups others does: it explains itself, or names what it
// does not know.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	for _, s := range cmd.SuggestionsFor(args[0]) {
		return usagef(cmd, "unknown command %q for %q: did you mean %q?", args[0],
			cmd.CommandPath(), s)
	}
	return usagef(cmd, "unknown command %q for %q", args[0], cmd.CommandPath())
}
