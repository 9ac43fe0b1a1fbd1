// Package measured puts what a benchmark measured into its document, and says on what machine. It
// has no goroutines.
package measured

import (
	"errors"
	"os"
	"runtime"
	"strings"
)

const end = "<!-- measured: end -->\n"

// Replace makes text the measured part of a document: what stands between the two lines that name
// the command and end it. The rest is written by hand.
func Replace(path, command, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin := "<!-- measured: begin (" + command + ") -->\n"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return errors.New(path + " has lost the lines between which the figures go")
	}
	return os.WriteFile(path, []byte(before+begin+text+end+after), 0o644)
}

// CPU is the model of this machine's processor.
func CPU() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	for line := range strings.Lines(string(b)) {
		name, model, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return runtime.GOARCH
}

// Kernel is the release of this machine's Linux.
func Kernel() string {
	b, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return "of an unknown version"
	}
	return strings.TrimSpace(string(b))
}
