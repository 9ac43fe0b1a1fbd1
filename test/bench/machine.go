package main

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/measured"
)

// machine says where and with what a run was made.
func (b *bench) machine() string {
	var s strings.Builder
	fmt.Fprintf(&s, "Measured on %s: %s, %d cores, %s, Linux %s, %s. Medians of %d rounds of %v "+
		"(%d where no bar judges), interleaved; client, application and proxies share the "+
		"cores.\n\n", time.Now().UTC().Format("2006-01-02"), measured.CPU(), runtime.NumCPU(),
		memory(), measured.Kernel(), runtime.Version(), b.rounds, b.duration,
		min(b.rounds, perStart))
	var versions []string
	for _, p := range b.peers {
		if p.version != nil && !strings.Contains(strings.Join(b.missing, " "), p.name) {
			versions = append(versions, p.name+": "+p.version())
		}
	}
	versions = append(versions, "load: wrk (Debian), "+firstLine("h2load", "--version"))
	fmt.Fprintf(&s, "Versions: %s.\n", strings.Join(versions, "; "))
	if len(b.missing) > 0 {
		fmt.Fprintf(&s, "\nNot installed, and so not measured: %s.\n",
			strings.Join(b.missing, ", "))
	}
	if len(b.seen) > 0 {
		s.WriteString("\nFound between the two proxies, " +
			"all of which refused TLS 1.2 and clients without certificates:\n\n")
		for _, line := range b.seen {
			fmt.Fprintf(&s, "- %s\n", line)
		}
	}
	return s.String()
}

func memory() string {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return "unknown memory"
	}
	return fmt.Sprintf("%.0f GB", float64(info.Totalram)*float64(info.Unit)/1e9)
}
