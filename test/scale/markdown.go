package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tulle-mesh/tulle/test/measured"
)

// document replaces the measured part of docs/scale.md, and its plot.
func (r *run) document(docs string) error {
	path := filepath.Join(docs, "scale.md")
	if err := measured.Replace(path, "make scale", "\n"+r.table()+"\n"); err != nil {
		return err
	}
	svg := filepath.Join(docs, "scale.svg")
	return os.WriteFile(svg, []byte(plot(r.inOrder())), 0o644)
}

func (r *run) table() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s\n%d proxies, %d services of %d pods.\n\n", machine(), r.proxies,
		r.shape.Services, r.shape.Pods)
	s.WriteString("| | measured | Must | Goal | | |\n|---|---|---|---|---|---|\n")
	for _, res := range r.inOrder() {
		fmt.Fprintf(&s, "| %s | %s | ≤ %g | %g | %s | %s |\n", res.title, res.figure(), res.must,
			res.goal, res.word(), strings.ReplaceAll(res.remark(), "\n", " "))
	}
	s.WriteString("\n![Each figure as a part of its Must](scale.svg)\n")
	return s.String()
}
