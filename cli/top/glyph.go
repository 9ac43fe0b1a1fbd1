package top

import "strings"

// glyphs are the signs that need more than ASCII, and what stands for them without.
type glyphs struct {
	bars             []string // lowest first
	up, down         string
	yes, no          string
	arrow, more      string
	cursor, dot      string
	descend, ascend  string
	pause, separator string
}

var unicodeGlyphs = glyphs{
	bars: []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, up: "▲", down: "▼", yes: "✓", no: "✗",
	arrow: "→", more: "…", cursor: "▸", dot: "·",
	descend: "↓", ascend: "↑", pause: "⏸", separator: "›",
}

var asciiGlyphs = glyphs{
	bars: []string{"_", ".", "-", "~", "=", "+", "*", "#"}, up: "^", down: "v", yes: "yes", no: "x",
	arrow: "->", more: "~", cursor: ">", dot: "-",
	descend: "v", ascend: "^", pause: "||", separator: ">",
}

// spark draws a line of bars, scaled to its own highest value; nothing is blank.
func (g *glyphs) spark(values []float64) string {
	top := 0.0
	for _, v := range values {
		top = max(top, v)
	}
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteString(" ")
			continue
		}
		b.WriteString(g.bars[min(int(v/top*float64(len(g.bars))), len(g.bars)-1)])
	}
	return b.String()
}
