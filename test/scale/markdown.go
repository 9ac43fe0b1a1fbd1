package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What a run writes goes between these two lines; the rest of the document is written by hand.
const (
	beginMark = "<!-- measured: begin (make scale) -->\n"
	endMark   = "<!-- measured: end -->\n"
)

// document replaces the measured part of docs/scale.md, and its plot.
func (r *run) document(docs string) error {
	path := filepath.Join(docs, "scale.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return errors.New(path + " has lost the lines between which the figures go")
	}
	svg := filepath.Join(docs, "scale.svg")
	if err := os.WriteFile(svg, []byte(plot(r.inOrder())), 0o644); err != nil {
		return err
	}
	next := before + beginMark + "\n" + r.table() + "\n" + endMark + after
	return os.WriteFile(path, []byte(next), 0o644)
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
