package top

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/tulle-mesh/tulle/viz"
)

func ptr(v float64) *float64 { return &v }

// shop is an answer with something to sort, filter and look into.
func shop() *viz.Top {
	row := func(from, to, route string, rps, ok, p99 float64) viz.TopRow {
		return viz.TopRow{
			From: from, FromKind: "deployment", FromNamespace: "shop",
			To: to, ToKind: "service", ToNamespace: "shop", Route: route,
			ClientID: "spiffe://cluster.local/ns/shop/sa/" + from,
			ServerID: "spiffe://cluster.local/ns/shop/sa/" + to, Encrypted: true,
			Security: "mtls", Trend: []float64{0, 1, 2, 4, 8},
			Figures: viz.Figures{RPS: rps, SuccessRate: ptr(ok), P50Ms: ptr(p99 / 10),
				P95Ms: ptr(p99 / 2), P99Ms: ptr(p99), RetryRate: ptr(0.061), WindowTimeouts: 12},
		}
	}
	plain := row("10.1.2.3", "checkout", "[default]", 14, 0.92, 300)
	plain.FromKind, plain.FromNamespace = "address", ""
	plain.Encrypted, plain.Security = false, "plaintext-unmeshed"
	idle := viz.TopRow{From: "web", FromKind: "deployment", To: "redis", ToKind: "service",
		Security: "mtls", Encrypted: true}
	return &viz.Top{
		Proxies: 3, Total: viz.Figures{RPS: 756, SuccessRate: ptr(0.9931), P50Ms: ptr(4),
			P95Ms: ptr(38), P99Ms: ptr(210)},
		Rows: []viz.TopRow{
			row("web", "checkout", "POST /pay", 212, 0.979, 410),
			row("checkout", "inventory", "GET /items/{id}", 530, 1, 11), plain, idle,
		},
	}
}

// page drives a model as bubbletea would, but runs no command by itself.
type page struct {
	t     *testing.T
	model model
	cmd   tea.Cmd
	asked []viz.Query
	err   error
}

func newPage(t *testing.T) *page {
	p := &page{t: t}
	ask := func(_ context.Context, q viz.Query) (*viz.Top, error) {
		p.asked = append(p.asked, q)
		if p.err != nil {
			return nil, p.err
		}
		return shop(), nil
	}
	p.model = newModel(context.Background(), Config{
		Interval: time.Second, Query: viz.Query{Namespace: "shop"}, Ask: ask,
	})
	p.cmd = p.model.Init()
	return p
}

func (p *page) send(msg tea.Msg) {
	next, cmd := p.model.Update(msg)
	p.model, p.cmd = next.(model), cmd
}

// answer runs the question under way.
func (p *page) answer() *page {
	p.t.Helper()
	if p.cmd == nil {
		p.t.Fatal("nothing was asked")
	}
	p.send(p.cmd())
	return p
}

func (p *page) press(keys ...string) {
	named := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown,
		"end": tea.KeyEnd, "home": tea.KeyHome, "backspace": tea.KeyBackspace,
		"pgdown": tea.KeyPgDown, "space": tea.KeySpace,
	}
	for _, k := range keys {
		switch code, ok := named[k]; {
		case ok && k == "space":
			p.send(tea.KeyPressMsg{Code: code, Text: " "})
		case ok:
			p.send(tea.KeyPressMsg{Code: code})
		case k == "ctrl+c":
			p.send(tea.KeyPressMsg{Code: 'c', Mod: tea.ModCtrl})
		default:
			p.send(tea.KeyPressMsg{Code: []rune(k)[0], Text: k})
		}
	}
}

func (p *page) typed(text string) {
	for _, r := range text {
		p.press(string(r))
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// lines is the page without colours.
func (p *page) lines() []string {
	return strings.Split(colours.ReplaceAllString(p.model.page(), ""), "\n")
}

func (p *page) text() string { return strings.Join(p.lines(), "\n") }

// order is which rows are shown, as "from to".
func (p *page) order() string {
	var out []string
	for _, r := range p.model.rows {
		out = append(out, r.From+">"+r.To)
	}
	return strings.Join(out, " ")
}

func (p *page) want(what, got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("%s is %q, want %q", what, got, want)
	}
}

func TestSort(t *testing.T) {
	p := newPage(t).answer()
	p.want("by RPS", p.order(), "checkout>inventory web>checkout 10.1.2.3>checkout web>redis")
	p.press("o")
	p.want("by OK%", p.order(), "10.1.2.3>checkout web>checkout checkout>inventory web>redis")
	p.press("o", "o", "o")
	p.want("by P99", p.order(), "web>checkout 10.1.2.3>checkout checkout>inventory web>redis")
	p.press("O")
	p.want("reversed", p.order(), "web>redis checkout>inventory 10.1.2.3>checkout web>checkout")
	p.press("o", "o", "o", "o", "o", "o")
	p.want("by FROM", p.order(), "10.1.2.3>checkout checkout>inventory web>checkout web>redis")
	for range orders {
		p.press("o")
	}
	p.want("all the way round", p.model.order.head(), "FROM")
}

func TestFilter(t *testing.T) {
	p := newPage(t).answer()
	p.press("/")
	p.typed("ok<99 route~pay")
	p.want("while typing", p.order(), "web>checkout")
	p.press("enter")
	if !strings.Contains(p.text(), "filter ok<99 route~pay (1 of 4)") {
		t.Errorf("the page does not show the filter:\n%s", p.text())
	}
	p.answerAgain()
	p.want("after the next answer", p.order(), "web>checkout")
	p.press("/", "esc")
	p.want("cleared", p.order(), "checkout>inventory web>checkout 10.1.2.3>checkout web>redis")
	p.press("/")
	p.typed("nobody")
	if !strings.Contains(p.text(), "no row matches the filter") {
		t.Errorf("an empty page does not say why:\n%s", p.text())
	}
	p.press("q")
	p.want("q while typing", p.model.draft, "nobodyq")
}

// answerAgain is the next round: the pause ends, viz is asked, it answers.
func (p *page) answerAgain() {
	p.send(due{p.model.generation})
	p.answer()
}

func TestFilterTerms(t *testing.T) {
	rows := shop().Rows
	for text, want := range map[string]string{
		"":                      "web checkout 10.1.2.3 web",
		"rps>100":               "web checkout",
		"rps>=530":              "checkout",
		"p99<=300ms":            "checkout 10.1.2.3",
		"ok=100%":               "checkout",
		"ok!=100":               "web 10.1.2.3",
		"retry>6 t/o>=12 p50<2": "checkout",
		"from=web":              "web web",
		"from!=web":             "checkout 10.1.2.3",
		"to~check":              "web 10.1.2.3",
		"to!~check":             "checkout web",
		"mtls!=mtls":            "10.1.2.3",
		"ns~shop":               "web checkout 10.1.2.3",
		"ITEMS":                 "checkout",
		"p95>0 redis":           "",
	} {
		f, err := viz.ParseFilter(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		var got []string
		for i := range rows {
			if f.Matches(&rows[i]) {
				got = append(got, rows[i].From)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q shows %v, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"size>3": `"size" is no field`, "ok<fast": `"fast" is no number`,
		"ok~9": "numbers compare with", "from>web": "text compares with",
		"p99>": `"" is no number`,
	} {
		if _, err := viz.ParseFilter(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v, want %q", text, err, want)
		}
	}
}

func TestBadFilterKeepsTheLastGoodOne(t *testing.T) {
	p := newPage(t).answer()
	p.press("/")
	p.typed("from=web p99>1x")
	p.want("rows", p.order(), "web>checkout")
	if !strings.Contains(p.lines()[1], "is no number") {
		t.Errorf("the page does not say what is wrong:\n%s", p.text())
	}
	p.press("enter")
	if !p.model.editing {
		t.Error("a filter that makes no sense was kept")
	}
	p.press("backspace", "enter")
	p.want("filter", p.model.filter.Text, "from=web p99>1")
}

func TestPause(t *testing.T) {
	p := newPage(t).answer()
	p.press("space")
	if !strings.Contains(p.lines()[0], "paused") {
		t.Errorf("the page does not say that it is paused:\n%s", p.text())
	}
	p.send(due{p.model.generation})
	if p.cmd != nil {
		t.Error("a paused page asked")
	}
	late := shop()
	late.Rows = nil
	p.send(answer{p.model.generation, late, nil})
	if len(p.model.rows) != 4 {
		t.Error("an answer that came late changed a paused page")
	}
	p.press("space")
	p.answer()
	if !strings.Contains(p.lines()[0], "live 1s") {
		t.Errorf("the page did not go on:\n%s", p.text())
	}
}

// An answer or a tick of an older question must not start a second chain of questions.
func TestOneChainOfQuestions(t *testing.T) {
	p := newPage(t)
	first := p.cmd
	p.press("g")
	second := p.cmd
	p.send(first())
	if p.cmd != nil || p.model.data != nil {
		t.Error("an answer to the old question was taken")
	}
	p.send(second())
	if p.cmd == nil || p.model.data == nil {
		t.Error("the answer to the new question was not taken")
	}
	p.send(due{p.model.generation - 1})
	if p.cmd != nil {
		t.Error("an old tick asked")
	}
}

func TestGroupAndDrill(t *testing.T) {
	p := newPage(t).answer()
	p.want("group", p.asked[0].Group, viz.GroupRoute)
	p.press("down", "enter")
	p.answer()
	want := viz.Query{Namespace: "shop", From: "deployment/web", FromNamespace: "shop",
		To: "service/checkout", ToNamespace: "shop", Route: "POST /pay", Group: viz.GroupPod}
	if got := p.asked[len(p.asked)-1]; got != want {
		t.Errorf("asked %+v, want %+v", got, want)
	}
	if !strings.Contains(p.lines()[1], "shop › web → checkout POST /pay") {
		t.Errorf("the page does not say where it is:\n%s", p.text())
	}
	p.press("enter")
	if !strings.Contains(p.lines()[1], "finest") {
		t.Errorf("a pod's row was looked into:\n%s", p.text())
	}
	p.press("esc")
	p.answer()
	if got := p.asked[len(p.asked)-1]; got != p.asked[0] {
		t.Errorf("back at %+v", got)
	}
	var groups []string
	for range 4 {
		p.press("g")
		p.answer()
		groups = append(groups, p.asked[len(p.asked)-1].Group)
	}
	p.want("groups", strings.Join(groups, " "), "pod identity service route")
	p.press("esc")
	if p.cmd != nil {
		t.Error("esc at the top asked")
	}
}

func TestCursorStaysOnItsRow(t *testing.T) {
	p := newPage(t).answer()
	p.press("down")
	p.want("row", p.model.cursor.from, "web")
	p.press("o")
	p.want("row after sorting", p.model.rows[p.model.at()].To, "checkout")
	p.want("row after sorting", p.model.rows[p.model.at()].Route, "POST /pay")
	p.press("end", "down", "down")
	p.want("last row", p.model.rows[p.model.at()].To, "redis")
	p.press("home", "up")
	if p.model.at() != 0 {
		t.Error("home did not go to the first row")
	}
}

func TestScrolls(t *testing.T) {
	p := newPage(t).answer()
	p.send(tea.WindowSizeMsg{Width: 80, Height: 6}) // room for two rows
	if got := p.text(); !strings.Contains(got, "inventory") || strings.Contains(got, "redis") {
		t.Errorf("first page:\n%s", got)
	}
	p.press("end")
	if got := p.text(); !strings.Contains(got, "redis") || strings.Contains(got, "inventory") {
		t.Errorf("last page:\n%s", got)
	}
	p.press("pgdown", "home")
	if got := p.text(); !strings.Contains(got, "inventory") {
		t.Errorf("first page again:\n%s", got)
	}
}

func TestEveryLineFits(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		for _, width := range []int{40, 80, 100, 132, 200} {
			for _, height := range []int{1, 5, 24} {
				p := newPage(t).answer()
				if ascii {
					p.model.glyphs = &asciiGlyphs
				}
				p.send(tea.WindowSizeMsg{Width: width, Height: height})
				for _, keys := range [][]string{nil, {"i"}, {"?"}, {"x", "/"}} {
					p.press(keys...)
					checkFits(t, p, width, height, ascii)
				}
			}
		}
	}
}

func checkFits(t *testing.T, p *page, width, height int, ascii bool) {
	t.Helper()
	lines := p.lines()
	if len(lines) > max(height, 2) {
		t.Errorf("%dx%d: the page has %d lines", width, height, len(lines))
	}
	for _, line := range lines {
		if lipgloss.Width(line) > width {
			t.Errorf("%dx%d: %q has %d columns", width, height, line, lipgloss.Width(line))
		}
		if ascii && strings.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
			t.Errorf("%q is not ASCII", line)
		}
	}
}

func TestPageAt80Columns(t *testing.T) {
	p := newPage(t).answer()
	want := []string{
		" shop  ▲756 rps  ok 99.31%  p50 4.0  p95 38  p99 210 ms      3 proxies  live 1s",
		" shop   by route   sort RPS↓",
		" FROM      TO        ROUTE           RPS    OK%   P50   P95   P99  RETRY MTLS",
		"▸checkout  inventory GET /items/…    530    100   1.1   5.5    11   6.1% ✓",
		" web       checkout  POST /pay       212  ▼97.9    41   205   410   6.1% ✓",
		" 10.1.2.3  checkout  [default]      14.0  ▼92.0    30   150   300   6.1% plain",
		" web       redis                     0.0      -     -     -     -      0 ✓",
	}
	got := p.lines()
	for i := range want {
		if strings.TrimRight(got[i], " ") != want[i] {
			t.Errorf("line %d is\n%q, want\n%q", i, strings.TrimRight(got[i], " "), want[i])
		}
	}
}

// What a mesh does on purpose has its columns where there is any of it, and takes the room of
// others.
func TestPageWithAnEjection(t *testing.T) {
	p := newPage(t).answer()
	busy := shop()
	busy.Rows[0].Ejected, busy.Rows[0].Endpoints = 1, 3
	busy.Rows[1].WindowFaulted, busy.Rows[2].WindowLimited = 12, 3400
	p.send(answer{p.model.generation, busy, nil})
	want := []string{
		" FROM    TO      ROUTE         RPS    OK%   P95   P99 FAULT LIMIT EJECT MTLS",
		"▸che…out inv…ory GET /item…    530    100   5.5    11    12     -     - ✓",
		" web     che…out POST /pay     212  ▼97.9   205   410     -     -  ✗1/3 ✓",
		" 10.…2.3 che…out [default]    14.0  ▼92.0   150   300     -  3.4k     - plain",
		" web     redis                 0.0      -     -     -     -     -     - ✓",
	}
	got := p.lines()[2:]
	for i := range want {
		if strings.TrimRight(got[i], " ") != want[i] {
			t.Errorf("line %d is\n%q, want\n%q", i, strings.TrimRight(got[i], " "), want[i])
		}
	}
	p.send(tea.WindowSizeMsg{Width: 60, Height: 24})
	if !strings.Contains(p.text(), "✗1/3") || strings.Contains(p.text(), "FAULT") {
		t.Errorf("at 60 columns:\n%s", p.text())
	}
	p.press("/")
	p.typed("eject>0")
	p.want("filtered", p.order(), "web>checkout")
	if strings.Contains(p.text(), "LIMIT") {
		t.Errorf("a column with nothing in it is shown:\n%s", p.text())
	}
}

func TestFailures(t *testing.T) {
	p := newPage(t)
	p.err = errors.New("ask viz for top: connection refused\n" +
		"Nothing answers: 'meshctl dev up' starts it")
	p.answer()
	for _, want := range []string{
		"viz does not answer", "connection refused", "meshctl dev up", "Asking again every 1s",
	} {
		if !strings.Contains(p.text(), want) {
			t.Errorf("the page does not say %q:\n%s", want, p.text())
		}
	}
	if p.cmd == nil {
		t.Fatal("a page without an answer does not ask again")
	}
	p.err = nil
	p.answerAgain()
	p.err = errors.New("connection refused")
	p.answerAgain()
	if got := p.lines(); !strings.Contains(got[0], "no answer") ||
		!strings.Contains(got[1], "what is shown is old") || len(p.model.rows) != 4 {
		t.Errorf("the page is\n%s", p.text())
	}
}

func TestNothingToShow(t *testing.T) {
	p := newPage(t)
	p.send(answer{0, &viz.Top{}, nil})
	if !strings.Contains(p.text(), "No proxy reports") {
		t.Errorf("without proxies:\n%s", p.text())
	}
	p.press("enter", "up", "pgdown", "o", "i")
	p.send(answer{0, &viz.Top{Proxies: 2}, nil})
	if !strings.Contains(p.text(), "2 proxies report") {
		t.Errorf("without traffic:\n%s", p.text())
	}
}

func TestQuitAndHelp(t *testing.T) {
	p := newPage(t).answer()
	p.press("?")
	if !strings.Contains(p.text(), "any key goes back") {
		t.Errorf("no help:\n%s", p.text())
	}
	p.press("x")
	if strings.Contains(p.text(), "any key goes back") {
		t.Error("help stayed")
	}
	for _, keys := range [][]string{{"q"}, {"ctrl+c"}, {"/", "ctrl+c"}, {"?", "q"}} {
		p := newPage(t).answer()
		p.press(keys...)
		if p.cmd == nil {
			t.Errorf("%v did not quit", keys)
		} else if _, ok := p.cmd().(tea.QuitMsg); !ok {
			t.Errorf("%v did not quit", keys)
		}
	}
}

func TestSpark(t *testing.T) {
	if got := unicodeGlyphs.spark([]float64{0, 1, 4, 8, 8}); got != " ▂▅██" {
		t.Errorf("spark is %q", got)
	}
	if got := asciiGlyphs.spark(slices.Repeat([]float64{0}, 3)); got != "   " {
		t.Errorf("spark of nothing is %q", got)
	}
}

func TestLongNamesKeepTheirEnds(t *testing.T) {
	if got := middle("checkout-7d9f-x2x", 9, "…"); got != "chec…-x2x" {
		t.Errorf("cut to %q", got)
	}
	if got := shortID("spiffe://cluster.local/ns/shop/sa/web", 0, ""); got != "shop/web" {
		t.Errorf("ID cut to %q", got)
	}
}
