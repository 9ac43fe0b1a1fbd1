package top

import (
	"context"
	"errors"
	"io"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tulle-mesh/tulle/viz"
)

// Config is what a page shows, and where.
type Config struct {
	Ask      func(context.Context, viz.Query) (*viz.Top, error)
	Query    viz.Query
	Interval time.Duration
	ASCII    bool // for terminals that cannot show more
	In       io.Reader
	Out      io.Writer
	Environ  []string // NO_COLOR, TERM and the like
}

// Run shows the page until the user quits or the context ends.
func Run(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a question that is still under way
	program := tea.NewProgram(newModel(ctx, cfg), tea.WithInput(cfg.In), tea.WithOutput(cfg.Out),
		tea.WithEnvironment(cfg.Environ))
	// Not tea.WithContext: that kills the program, which closes the terminal under the goroutine
	// that still reads it.
	defer context.AfterFunc(ctx, program.Quit)()
	_, err := program.Run()
	if errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}
