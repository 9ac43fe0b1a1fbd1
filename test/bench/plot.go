package main

import (
	"fmt"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLabel = 620 // for a row's title
	plotUnit  = 150 // how long the best peer's figure is
	plotMost  = 3.0 // longer bars are cut off
	plotLine  = 22
	plotTop   = 46
)

// plot is a bar for each row: how much better the proxy is than the best of its peers. 1 is as
// good.
func plot(results []result) string {
	var body strings.Builder
	y := plotTop
	for _, r := range results {
		v := r.headline().hold(r)
		if v.unjudged != "" || v.got <= 0 {
			continue
		}
		times := v.got
		if !v.more() {
			times = 1 / v.got
		}
		unit := map[bool]string{true: "p99 added", false: r.unit}[r.fixed]
		body.WriteString(plotBar(y, r.title+", "+unit, v.who, times))
		y += plotLine
	}
	width, height := plotLabel+int(plotUnit*plotMost)+130, y+10
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" `+
		`width="%[1]d" height="%[2]d" font-family="sans-serif" font-size="12">
<rect width="%[1]d" height="%[2]d" fill="#ffffff"/>
<text x="10" y="22" font-size="14" fill="#222222">`+
		`Times better than the best of the others in each row `+
		`(longer is better; 1 is as good)</text>
%[3]s<line x1="%[4]d" y1="%[5]d" x2="%[4]d" y2="%[6]d" stroke="#222222" stroke-dasharray="4 3"/>
</svg>
`, width, height, body.String(), plotLabel+plotUnit, plotTop-10, y)
}

func plotBar(y int, title, who string, times float64) string {
	color := "#1f8a70"
	if times < 1 {
		color = "#d9822b"
	}
	length, label := int(plotUnit*min(times, plotMost)), fmt.Sprintf("%.2fx %s", times, who)
	if times > plotMost { // as when next to nothing was added: the number would be noise
		label = fmt.Sprintf("over %gx %s", plotMost, who)
	}
	return fmt.Sprintf(`<text x="%d" y="%d" text-anchor="end" fill="#222222">%s</text>`+
		`<rect x="%d" y="%d" width="%d" height="%d" fill="%s"/>`+
		`<text x="%d" y="%d" fill="#222222">%s</text>`+"\n",
		plotLabel-8, y+13, escape(title), plotLabel, y+2, length, plotLine-6, color,
		plotLabel+length+6, y+13, label)
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}
