package dev

import (
	"fmt"
	"strings"
)

// greet says where to look and what to try.
func (s *session) greet() {
	s.printing.Lock()
	defer s.printing.Unlock()
	p := &s.plan.ports
	fmt.Fprintf(s.Out, "\nThe mesh is up: %d services in namespace %s.\n\n", len(s.mesh.Services),
		p.Namespace)
	fmt.Fprintf(s.Out, "The page, for one browser ('meshctl dashboard' prints another address):\n"+
		"  %s\n\n", s.page.address())
	fmt.Fprintf(s.Out, "Look:\n")
	fmt.Fprintf(s.Out, "  meshctl viz top             live traffic, each route\n")
	fmt.Fprintf(
		s.Out, "  meshctl viz stat deploy     success, requests and latency of each service\n")
	fmt.Fprintf(
		s.Out, "  meshctl viz edges deploy    who talks to whom, and how that is protected\n")
	fmt.Fprintf(
		s.Out,
		"  meshctl dev check           is every call encrypted, with the right identities?\n")
	fmt.Fprintf(s.Out, "  http://%-20s viz's answers as JSON, at /api/stat?resource=deploy\n",
		p.VizQuery)
	fmt.Fprintf(s.Out, "  http://%-20s the mesh's figures for a Prometheus, at /metrics\n",
		p.Metrics.Mesh)
	fmt.Fprintf(s.Out, "  %-27s logs of every process\n\n", s.state.path(logsDir))
	fmt.Fprintf(s.Out, "Try:\n")
	for n, try := range s.tries() {
		fmt.Fprintf(s.Out, "  %d. %s\n", n+1,
			strings.ReplaceAll(strings.TrimSpace(try), "\n", "\n     "))
	}
	fmt.Fprintf(s.Out, "\nEnd it with Ctrl-C, or with 'meshctl dev down' from elsewhere.\n")
}

// tries are the file's own suggestions, or what can be tried with any mesh.
func (s *session) tries() []string {
	if len(s.mesh.Try) > 0 {
		return s.mesh.Try
	}
	profile := "a ServiceProfile (name its folder with 'profiles' in mesh.yaml)"
	if files := profileFiles(s.mesh); len(files) > 0 {
		profile = files[0]
	}
	last := s.plan.ports.Instances[len(s.plan.ports.Instances)-1]
	return []string{
		"Edit " + profile + ": it takes effect at once.",
		"meshctl dev restart " + last.Name + " and watch 'meshctl viz top' meanwhile.",
		"meshctl dev restart viz: the totals stay, because every proxy still knows its own.",
	}
}
