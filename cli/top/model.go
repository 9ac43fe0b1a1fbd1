package top

import (
	"context"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/tulle-mesh/tulle/viz"
)

// level is what the page shows: a question, and how the user came to ask it.
type level struct {
	query viz.Query
	title string
}

// maxDepth bounds the way down: service, route, pod.
const maxDepth = 8

type model struct {
	ctx      context.Context
	ask      func(context.Context, viz.Query) (*viz.Top, error)
	interval time.Duration
	glyphs   *glyphs
	width    int
	height   int

	level
	above []level // where the user came from, outermost first

	// generation counts questions of a new kind. Answers and ticks of an older one are dropped, so
	// that there is always exactly one chain of question, answer, pause.
	generation int
	data       *viz.Top
	before     float64 // requests per second of the answer before
	failed     error   // of the last question
	paused     bool

	rows    []viz.TopRow // what of the data is shown, in order
	order   ordering
	filter  viz.Filter
	cursor  rowKey
	first   int // first row on the page
	editing bool
	draft   string
	problem string // with the draft, or with the last key
	help    bool
	ids     bool
}

// answer is what viz said to a question of a generation.
type answer struct {
	generation int
	top        *viz.Top
	err        error
}

// due says that a generation's next question is.
type due struct{ generation int }

func newModel(ctx context.Context, cfg Config) model {
	if cfg.Query.Group == "" {
		cfg.Query.Group = viz.GroupRoute
	}
	m := model{ctx: ctx, ask: cfg.Ask, interval: cfg.Interval, glyphs: &unicodeGlyphs, width: 80,
		height: 24, level: level{cfg.Query, title(cfg.Query)}}
	if cfg.ASCII {
		m.glyphs = &asciiGlyphs
	}
	return m
}

func title(q viz.Query) string {
	name := q.Namespace
	if name == "" {
		name = "mesh"
	}
	if q.Resource != "" {
		name += " " + q.Resource
	}
	return name
}

func (m model) Init() tea.Cmd { return m.question() }

// question asks viz, away from the page's own goroutine.
func (m model) question() tea.Cmd {
	ctx, ask, q, generation := m.ctx, m.ask, m.query, m.generation
	return func() tea.Msg {
		top, err := ask(ctx, q)
		return answer{generation, top, err}
	}
}

func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		m.scroll()
	case answer:
		return m.answered(msg)
	case due:
		if msg.generation == m.generation && !m.paused {
			return m, m.question()
		}
	case tea.KeyPressMsg:
		return m.key(msg)
	case tea.PasteMsg:
		if m.editing {
			m.edit(m.draft + msg.Content)
		}
	}
	return m, nil
}

func (m model) answered(a answer) (tea.Model, tea.Cmd) {
	if a.generation != m.generation || m.paused {
		return m, nil
	}
	if m.failed = a.err; a.err == nil {
		if m.data != nil {
			m.before = m.data.Total.RPS
		}
		m.data = a.top
		m.arrange()
	}
	generation := m.generation
	return m, tea.Tick(m.interval, func(time.Time) tea.Msg { return due{generation} })
}

// refresh asks anew at once: the question has changed, or the pause is over.
func (m model) refresh() (tea.Model, tea.Cmd) {
	m.generation++
	return m, m.question()
}

// enter goes to a place. What was shown is of another, so the page is empty until viz answers.
func (m model) enter(p level) (tea.Model, tea.Cmd) {
	m.level, m.data, m.rows, m.first, m.cursor, m.paused, m.before = p, nil, nil, 0, rowKey{},
		false, 0
	return m.refresh()
}

// arrange picks and orders the rows of the data.
func (m *model) arrange() {
	m.rows = m.rows[:0:0]
	if m.data == nil {
		return
	}
	for _, row := range m.data.Rows {
		if m.filter.Matches(&row) {
			m.rows = append(m.rows, row)
		}
	}
	slices.SortStableFunc(m.rows, m.order.compare)
	m.scroll()
}

// rowKey says which row the cursor is on, wherever the next answer puts it.
type rowKey struct {
	from, fromNamespace, to, toNamespace, route, clientID, serverID string
}

func keyOf(r *viz.TopRow) rowKey {
	return rowKey{r.From, r.FromNamespace, r.To, r.ToNamespace, r.Route, r.ClientID, r.ServerID}
}

// at is the index of the row under the cursor; the first when it is gone.
func (m *model) at() int {
	return max(0, slices.IndexFunc(m.rows, func(r viz.TopRow) bool {
		return keyOf(&r) == m.cursor
	}))
}

func (m *model) move(to int) {
	if len(m.rows) == 0 {
		return
	}
	m.cursor = keyOf(&m.rows[min(max(to, 0), len(m.rows)-1)])
	m.scroll()
}

// scroll keeps the cursor on the page.
func (m *model) scroll() {
	if len(m.rows) == 0 {
		m.first = 0
		return
	}
	at, shown := m.at(), m.room()
	m.cursor = keyOf(&m.rows[at])
	m.first = min(max(m.first, at-shown+1, 0), at, max(len(m.rows)-shown, 0))
	if at < m.first {
		m.first = at
	}
}

// around is what is drawn around the rows: summary, place, column heads, keys.
const around = 4

// room is how many rows fit.
func (m *model) room() int { return max(m.height-around, 1) }
