package top

import (
	"slices"

	tea "charm.land/bubbletea/v2"

	"github.com/tulle-mesh/tulle/viz"
)

// maxDraft bounds a filter: what fits on the line is what can be read.
const maxDraft = 200

func (m model) key(k tea.KeyPressMsg) (tea.Model, tea.Cmd) {
	if k.String() == "ctrl+c" {
		return m, tea.Quit
	}
	if m.editing {
		m.editKey(k)
		return m, nil
	}
	m.problem = ""
	if m.help {
		m.help = false // any key closes it
		if k.String() != "q" {
			return m, nil
		}
	}
	if m.navigate(k.String()) {
		return m, nil
	}
	return m.command(k.String())
}

// navigate moves the cursor, or says that the key is for something else.
func (m *model) navigate(k string) bool {
	switch k {
	case "up", "k":
		m.move(m.at() - 1)
	case "down", "j":
		m.move(m.at() + 1)
	case "pgup", "ctrl+b":
		m.move(m.at() - m.room())
	case "pgdown", "ctrl+f":
		m.move(m.at() + m.room())
	case "home":
		m.move(0)
	case "end", "G":
		m.move(len(m.rows) - 1)
	default:
		return false
	}
	return true
}

func (m model) command(k string) (tea.Model, tea.Cmd) {
	switch k {
	case "q":
		return m, tea.Quit
	case "space":
		if m.paused = !m.paused; !m.paused {
			return m.refresh()
		}
	case "o":
		m.order = m.order.next()
		m.arrange()
	case "O":
		m.order.reversed = !m.order.reversed
		m.arrange()
	case "/":
		m.editing, m.draft = true, m.filter.Text
	case "g":
		return m.regroup()
	case "enter", "right", "l":
		return m.down()
	case "esc", "backspace", "left", "h":
		return m.up()
	case "i":
		m.ids = !m.ids
	case "?":
		m.help = true
	}
	return m, nil
}

func (m *model) editKey(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		if m.problem == "" {
			m.editing = false
		}
	case "esc":
		m.editing = false
		m.edit("")
	case "backspace":
		if runes := []rune(m.draft); len(runes) > 0 {
			m.edit(string(runes[:len(runes)-1]))
		}
	case "ctrl+u":
		m.edit("")
	default:
		m.edit(m.draft + k.Text)
	}
}

// edit takes a new draft. The rows follow while the user types; a draft that makes no sense yet
// keeps the last that did.
func (m *model) edit(draft string) {
	if len(draft) > maxDraft {
		return
	}
	m.draft, m.problem = draft, ""
	f, err := viz.ParseFilter(draft)
	if err != nil {
		m.problem = err.Error()
		return
	}
	m.filter = f
	m.arrange()
}

// groups is the order of g, coarse to fine.
var groups = []string{viz.GroupService, viz.GroupRoute, viz.GroupPod, viz.GroupIdentity}

func (m model) regroup() (tea.Model, tea.Cmd) {
	p := m.level
	p.query.Group = groups[(slices.Index(groups, p.query.Group)+1)%len(groups)]
	return m.enter(p)
}

// finer is what a row of a grouping is made of.
var finer = map[string]string{viz.GroupService: viz.GroupRoute, viz.GroupRoute: viz.GroupPod,
	viz.GroupIdentity: viz.GroupPod}

// down looks into the row under the cursor.
func (m model) down() (tea.Model, tea.Cmd) {
	if len(m.rows) == 0 {
		return m, nil
	}
	row := &m.rows[m.at()]
	next := finer[m.query.Group]
	if next == "" || len(m.above) == maxDepth {
		m.problem = "a pod's row is the finest there is"
		return m, nil
	}
	p := level{query: m.query, title: row.From + " " + m.glyphs.arrow + " " + row.To}
	if row.Route != "" {
		p.query.Route = row.Route
		p.title += " " + row.Route
	}
	p.query.From, p.query.FromNamespace = row.FromKind+"/"+row.From, row.FromNamespace
	p.query.To, p.query.ToNamespace = row.ToKind+"/"+row.To, row.ToNamespace
	p.query.Group = next
	m.above = append(slices.Clone(m.above), m.level)
	return m.enter(p)
}

func (m model) up() (tea.Model, tea.Cmd) {
	if len(m.above) == 0 {
		return m, nil
	}
	last := len(m.above) - 1
	p := m.above[last]
	m.above = m.above[:last:last]
	return m.enter(p)
}
