package await

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// descendants shows the processes below a process, a line for each: its id, what state it is in,
// which call of the kernel it sleeps in, and its command line. Where /proc does not tell (proc(5)),
// it shows none.
func descendants(pid int) string {
	var all strings.Builder
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		for _, child := range strings.Fields(read(list)) {
			of := "/proc/" + child
			command := strings.ReplaceAll(read(of+"/cmdline"), "\x00", " ")
			fmt.Fprintf(&all, "%s\t%s\t%s\t%s\n", child, state(of), read(of+"/wchan"), command)
			var id int
			fmt.Sscan(child, &id)
			all.WriteString(descendants(id))
		}
	}
	return all.String()
}

// state is the line of a process's status that says whether it runs, sleeps or is a zombie.
func state(of string) string {
	_, rest, _ := strings.Cut(read(of+"/status"), "State:\t")
	line, _, _ := strings.Cut(rest, "\n")
	return line
}

// read is what a file of /proc says, or nothing: its process may have ended.
func read(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}
