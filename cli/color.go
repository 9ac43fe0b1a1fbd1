package cli

import (
	"os"

	"golang.org/x/term"
)

// paint colours a text, for people only: never in a pipe, never where they asked for none.
func (a *app) paint(color, text string) string {
	if !a.colored() {
		return text
	}
	return color + text + "\x1b[0m"
}

func (a *app) colored() bool {
	f, ok := a.Out.(*os.File)
	return ok && !a.noColor && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
