package top

import (
	"fmt"
	"slices"
	"strings"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/tulle-mesh/tulle/viz"
)

// tone is a cell's colour. What it says is always said by shape or words, too.
type tone int

const (
	plain tone = iota
	good
	warn
	bad
	faint
	strong
	selected
)

// styles uses the terminal's own sixteen colours, so that the page fits the user's theme.
var styles = map[tone]lipgloss.Style{
	plain:    lipgloss.NewStyle(),
	good:     lipgloss.NewStyle().Foreground(lipgloss.Green),
	warn:     lipgloss.NewStyle().Foreground(lipgloss.Yellow),
	bad:      lipgloss.NewStyle().Foreground(lipgloss.Red),
	faint:    lipgloss.NewStyle().Faint(true),
	strong:   lipgloss.NewStyle().Bold(true),
	selected: lipgloss.NewStyle().Reverse(true),
}

func paint(t tone, s string) string { return styles[t].Render(s) }

func (m model) View() tea.View {
	v := tea.NewView(m.page())
	v.AltScreen = true
	v.WindowTitle = "meshctl viz top"
	return v
}

func (m *model) page() string {
	if m.help {
		return m.helpPage()
	}
	lines := []string{m.summary(), m.status(), m.heads()}
	if len(m.rows) == 0 {
		lines = append(lines, m.nothing()...)
	}
	cols := m.columns()
	for i := m.first; i < min(m.first+m.room(), len(m.rows)); i++ {
		lines = append(lines, m.row(cols, i))
	}
	if body := m.height - 1; len(lines) > body {
		lines = lines[:max(body, 1)]
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines, m.footer()), "\n")
}

// summary is the first line: everything together.
func (m *model) summary() string {
	state := "live " + m.interval.String()
	switch {
	case m.paused:
		state = m.glyphs.pause + " paused"
	case m.failed != nil:
		state = m.glyphs.no + " no answer"
	}
	if m.data == nil {
		return m.ends(paint(strong, " "+m.title), "", state)
	}
	t := &m.data.Total
	direction := " "
	switch {
	case m.data.Total.RPS > m.before*1.05:
		direction = m.glyphs.up
	case m.data.Total.RPS < m.before*0.95:
		direction = m.glyphs.down
	}
	text := fmt.Sprintf("  %s%s rps  ok %s  p50 %s  p95 %s  p99 %s ms", direction, rate(t.RPS),
		okText(t), millis(t.P50Ms), millis(t.P95Ms), millis(t.P99Ms))
	return m.ends(paint(strong, " "+m.rootTitle()), text,
		fmt.Sprintf("%d proxies  %s", m.data.Proxies, state))
}

func (m *model) rootTitle() string {
	if len(m.above) > 0 {
		return m.above[0].title
	}
	return m.title
}

func okText(f *viz.Figures) string {
	if f.SuccessRate == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f%%", *f.SuccessRate*100)
}

// ends puts one text at each end of a line.
func (m *model) ends(name, left, right string) string {
	left = name + left
	gap := m.width - lipgloss.Width(left) - lipgloss.Width(right) - 1
	if gap < 1 {
		return clip(left, m.width-lipgloss.Width(right)-2, m.glyphs.more) + " " + right
	}
	return left + strings.Repeat(" ", gap) + right
}

// status is the second line: where the page is, how it is ordered, or what is wrong.
func (m *model) status() string {
	switch {
	case m.editing:
		text := " filter: " + m.draft + "_"
		if m.problem != "" {
			return fit(text+"  ("+m.problem+")", m.width, false, m.glyphs.more)
		}
		return fit(text+"   enter keeps it, esc clears it", m.width, false, m.glyphs.more)
	case m.problem != "":
		return paint(warn, fit(" "+m.problem, m.width, false, m.glyphs.more))
	case m.failed != nil && m.data != nil:
		return paint(bad, fit(" "+m.glyphs.no+" "+firstLine(m.failed)+"; what is shown is old",
			m.width, false, m.glyphs.more))
	}
	var path []string
	for _, p := range m.above {
		path = append(path, p.title)
	}
	path = append(path, m.title)
	direction := m.glyphs.descend
	if m.order.reversed {
		direction = m.glyphs.ascend
	}
	text := " " + strings.Join(path, " "+m.glyphs.separator+" ") + "   by " + m.query.Group +
		"   sort " + m.order.head() + direction
	if m.filter.Text != "" {
		text += fmt.Sprintf("   filter %s (%d of %d)", m.filter.Text, len(m.rows),
			len(m.dataRows()))
	}
	return paint(faint, fit(text, m.width, false, m.glyphs.more))
}

func (m *model) dataRows() []viz.TopRow {
	if m.data == nil {
		return nil
	}
	return m.data.Rows
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// sized is a column of the page and how wide it is there.
type sized struct {
	column
	width int
}

// columns shares the page's width out.
func (m *model) columns() []sized {
	var out []sized
	free, shares := m.width-1, 0
	chosen, room := m.chosen()
	for _, c := range chosen {
		if room < c.least {
			continue
		}
		out = append(out, sized{c, c.width})
		free -= c.width + 1
		shares += c.share
	}
	for i := range out {
		if out[i].share > 0 {
			out[i].width = max(free*out[i].share/shares, 4)
		}
	}
	return out
}

// chosen are the columns of the moment, and the page's width as the others are to see it: those
// that only some pages have need room of theirs, and identities need that of latencies.
func (m *model) chosen() (out []column, room int) {
	ids := m.ids || m.query.Group == viz.GroupIdentity
	room = m.width
	for _, c := range columns {
		switch {
		case c.some != nil && (m.width < c.least || !m.any(c.some)):
		case c.some != nil:
			room -= c.width + 1
			c.least = 0
			out = append(out, c)
		case ids && c.head == "ROUTE":
			out = append(out, identities...)
		case ids && slices.Contains(roomOfIDs, c.head):
		default:
			out = append(out, c)
		}
	}
	return out, room
}

// roomOfIDs are the columns in whose place identities are shown.
var roomOfIDs = []string{"TREND", "P50", "P95", "RETRY", "T/O"}

// any says whether any row has something; not only those on the page, or else columns would come
// and go with every key.
func (m *model) any(has func(*viz.TopRow) bool) bool {
	return slices.ContainsFunc(m.rows, func(r viz.TopRow) bool { return has(&r) })
}

func (m *model) heads() string {
	var b strings.Builder
	b.WriteString(" ")
	for _, c := range m.columns() {
		b.WriteString(fit(c.head, c.width, c.right, m.glyphs.more))
		b.WriteString(" ")
	}
	return paint(strong, clip(b.String(), m.width, ""))
}

func (m *model) row(cols []sized, i int) string {
	r := &m.rows[i]
	var b strings.Builder
	current := i == m.at()
	if current {
		b.WriteString(m.glyphs.cursor)
	} else {
		b.WriteString(" ")
	}
	for n, c := range cols {
		if n > 0 {
			b.WriteString(" ")
		}
		text := c.cell(m.glyphs, r)
		if c.short != nil && lipgloss.Width(text) > c.width {
			text = c.short(text, c.width, m.glyphs.more)
		}
		text = fit(text, c.width, c.right, m.glyphs.more)
		if c.tone != nil && !current {
			text = paint(c.tone(r), text)
		}
		b.WriteString(text)
	}
	if current {
		return paint(selected, fit(b.String(), m.width, false, ""))
	}
	return lipgloss.NewStyle().MaxWidth(m.width).Render(b.String())
}

// nothing says why there is no row, and what to do.
func (m *model) nothing() []string {
	switch {
	case m.failed != nil && m.data == nil:
		out := []string{"", paint(bad, " "+m.glyphs.no+" viz does not answer:")}
		for line := range strings.SplitSeq(m.failed.Error(), "\n") {
			out = append(out, lipgloss.NewStyle().Width(m.width-2).PaddingLeft(3).Render(line))
		}
		return append(out, "", "   Asking again every "+m.interval.String()+".")
	case m.data == nil:
		return []string{"", " asking viz " + m.glyphs.more}
	case len(m.data.Rows) > 0:
		return []string{"", " no row matches the filter: / changes it, / then esc clears it"}
	case m.data.Proxies == 0:
		return []string{"", " No proxy reports to viz yet.",
			" On Kubernetes 'meshctl check --proxy' tells why; 'meshctl dev status' shows a " +
				"mesh on this machine."}
	}
	return []string{"",
		fmt.Sprintf(
			" No traffic here in the last minute. %d proxies report: send a request through one.",
			m.data.Proxies)}
}

func (m *model) footer() string {
	d := " " + m.glyphs.dot + " "
	keys := " " + strings.Join([]string{"q quit", "o sort", "/ filter", "g group", "enter in",
		"esc out", "space pause", "? help"}, d)
	if lipgloss.Width(keys) > m.width {
		keys = " " + strings.Join([]string{"q quit", "? help", "o sort", "/ filter", "g group"}, d)
	}
	return paint(faint, fit(keys, m.width, false, m.glyphs.more))
}

var helpText = []string{
	"",
	" up down j k      move               pgup pgdown home end",
	" o                sort by the next column        O   turn the order round",
	" /                filter: all terms must hold, for example",
	"                    ok<99 p99>200 route~pay from=web mtls!=mtls checkout",
	"                  fields: rps ok p50 p95 p99 retry t/o fault limit eject",
	"                          from to route ns mtls",
	" g                group by service, route, pod, identity",
	" enter            look into a row: service, its routes, its pods",
	" esc              back out",
	" space            pause and go on",
	" i                SPIFFE IDs of both ends",
	" q  ctrl+c        quit",
	"",
	" Rates and latencies (ms) are over the window, and so is T/O: timeouts.",
	" Where there are any: FAULT, LIMIT are requests that a fault took or a limit refused;",
	" EJECT is endpoints that some caller keeps requests from now, of how many there are.",
	" OK% is what applications saw; RETRY is retries per request.",
	" MTLS: a tick or yes is the mesh's mutual TLS, another word says what it is.",
	"",
	" any key goes back",
}

func (m *model) helpPage() string {
	lines := []string{paint(strong, " meshctl viz top")}
	for _, line := range helpText {
		lines = append(lines, clip(line, m.width, m.glyphs.more))
	}
	return strings.Join(lines[:min(len(lines), max(m.height, 1))], "\n")
}

// fit makes text exactly as wide as a column.
func fit(s string, width int, right bool, more string) string {
	s = clip(s, width, more)
	pad := strings.Repeat(" ", max(width-lipgloss.Width(s), 0))
	if right {
		return pad + s
	}
	return s + pad
}

// clip cuts plain text off at a width, and says so.
func clip(s string, width int, more string) string {
	if lipgloss.Width(s) <= width {
		return s
	}
	room := width - lipgloss.Width(more)
	used := 0
	for i, r := range s {
		used += lipgloss.Width(string(r))
		if used > room {
			return s[:i] + more
		}
	}
	return s
}
