package main

import (
	"fmt"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLabel = 520 // for a row's title
	plotUnit  = 320 // how long a Must is
	plotMost  = 1.4 // of it; longer bars are cut off
	plotLine  = 22
	plotTop   = 46
)

// plot is a bar for each row: what part of its Must it takes, and a mark where the Goal is.
func plot(results []result) string {
	var body strings.Builder
	y := plotTop
	for _, r := range results {
		if r.err != nil {
			continue
		}
		body.WriteString(plotBar(y, r))
		y += plotLine
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" `+
		`width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="12">
<rect width="%[1]d" height="%[2]d" fill="#ffffff"/>
<text x="10" y="22" font-size="14" fill="#222222">Each figure as a part of its Must, `+
		`the dashed line (shorter is better); the mark is the Goal</text>
%[3]s<line x1="%[4]d" y1="%[5]d" x2="%[4]d" y2="%[6]d" stroke="#222222" stroke-dasharray="4 3"/>
</svg>
`, plotLabel+int(plotUnit*plotMost)+120, y+10, body.String(), plotLabel+plotUnit, plotTop-10, y)
}

func plotBar(y int, r result) string {
	color := "#1f8a70"
	if r.missed() {
		color = "#d9822b"
	}
	length := int(plotUnit * min(max(r.measured/r.must, 0), plotMost))
	goal := plotLabel + int(plotUnit*r.goal/r.must)
	return fmt.Sprintf(`<text x="%d" y="%d" text-anchor="end" fill="#222222">%s</text>`+
		`<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+
		`<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#222222"/>`+
		`<text x="%d" y="%d" fill="#222222">%s</text>`+"\n",
		plotLabel-8, y+13, escape(r.title), plotLabel, y+2, length, plotLine-6, color,
		goal, y, goal, y+plotLine-2, plotLabel+max(length, goal-plotLabel)+6, y+13, r.figure())
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
