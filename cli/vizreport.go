package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tulle-mesh/tulle/viz"
)

// watchEvery is how often --watch asks again.
const watchEvery = 2 * time.Second

// clearScreen moves home and erases: the page stays in place.
const clearScreen = "\x1b[H\x1b[2J"

// vizReport is a command that asks viz one question and prints the answer.
type vizReport[T any] struct {
	*vizApp
	out   *output
	watch bool
	ask   func(context.Context, *viz.Client, viz.Query) (*T, error)
	table func(io.Writer, *T) error
	// empty says why there is nothing to show, and what to do; "" when there is something.
	empty func(*T) string
	note  func(*T) string // what to know of the answer; "": nothing. It may be nil
}

func (r *vizReport[T]) addFlags(cmd *cobra.Command) {
	r.out = addOutput(cmd, "table", "wide", "json", "yaml")
	cmd.Flags().BoolVarP(&r.watch, "watch", "w", false, "ask again every two seconds")
}

// run asks once, or with --watch until the command is interrupted.
func (r *vizReport[T]) run(cmd *cobra.Command) error {
	if err := errors.Join(r.out.check(cmd), r.check(cmd)); err != nil {
		return err
	}
	ctx := cmd.Context()
	link, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	q, err := r.query()
	if err != nil {
		return err
	}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		if err := r.once(ctx, link, q); err != nil || !r.watch {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil // Ctrl-C is how watching ends
		}
	}
}

func (r *vizReport[T]) once(ctx context.Context, link *vizLink, q viz.Query) error {
	answer, err := askViz(ctx, link, func(c *viz.Client) (*T, error) { return r.ask(ctx, c, q) })
	if ctx.Err() != nil && r.watch {
		return nil
	}
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if r.watch && r.isTable() && isTerminal(r.Out) {
		page.WriteString(clearScreen)
	}
	why := r.empty(answer)
	if why == "" || !r.isTable() {
		err = r.out.print(&page, answer, func(w io.Writer) error { return r.table(w, answer) })
	}
	if err != nil {
		return err
	}
	if _, err := r.Out.Write(page.Bytes()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if why == "" && r.note != nil {
		why = r.note(answer)
	}
	if why != "" {
		fmt.Fprintln(r.ErrOut, why)
	}
	return nil
}

func (r *vizReport[T]) isTable() bool { return r.out.format == "table" || r.out.format == "wide" }

// where names the part of the mesh that was asked for.
func (v *vizApp) where() string {
	q, err := v.query()
	if err != nil || q.Namespace == "" {
		return "in any namespace"
	}
	return fmt.Sprintf("in namespace %q (-A shows every namespace)", q.Namespace)
}

// noTraffic explains an empty answer.
func (v *vizApp) noTraffic(what string) string {
	if v.local {
		return fmt.Sprintf(
			"no %s %s: viz has heard of none yet. 'meshctl dev status' shows what runs.", what,
			v.where())
	}
	return fmt.Sprintf(
		"no %s %s: viz hears only of pods with a proxy. 'meshctl check --proxy' shows which "+
			"have one.", what, v.where())
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
