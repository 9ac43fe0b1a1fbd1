package page

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// tab is a browser's tab, and what went wrong in it.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards problems
	problems []string
	ignoring bool
}

// openTab starts a browser.
func openTab(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(t.Context(), chromedp.WithAllocatorOptions(
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute)))
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			b.note(m)
		}
	}()
	return b
}

// note keeps a message that says that something is wrong.
func (b *tab) note(m chromedp.ConsoleMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bad := m.IsException() || m.Type == "error" || m.Type == "warning"
	if bad && !b.ignoring {
		b.problems = append(b.problems, fmt.Sprintf("%s (%s:%d)", m, m.URL, m.Line))
	}
}

// ignore says whether what the console tells is expected now.
func (b *tab) ignore(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ignoring = on
}

// quiet fails the test for everything that the console told.
func (b *tab) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems {
		b.t.Errorf("%s: the console says %s", where, p)
	}
	b.problems = nil
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// eval is a script's value.
func eval[T any](b *tab, script string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	return v
}

// wait waits until a script's value is true.
func (b *tab) wait(what, script string, most time.Duration) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool]("Boolean("+script+")",
		chromedp.WithPollingTimeout(most),
		chromedp.WithPollingInterval(50*time.Millisecond)))
	if err != nil {
		text := eval[string](b, `document.body.innerText.slice(0, 2000)`)
		b.t.Fatalf("%s did not come within %s: %v; the page says\n%s", what, most, err, text)
	}
}

// press is a key, where the focus is.
func (b *tab) press(key string) {
	b.t.Helper()
	eval[bool](b, fmt.Sprintf(`((document.activeElement ?? document.body).dispatchEvent(
		new KeyboardEvent('keydown', { key: %q, bubbles: true })), true)`, key))
}

// look makes the window so wide, in a theme.
func (b *tab) look(width int64, theme string) {
	b.t.Helper()
	height := int64(860)
	if width < 600 {
		height = 844
	}
	b.do(chromedp.EmulateViewport(width, height))
	eval[bool](b, fmt.Sprintf(`(document.documentElement.dataset.theme = %q, `+
		`dispatchEvent(new Event('resize')), true)`, theme))
}

// document keeps a picture for the docs, where those are to be made anew.
func (b *tab) document(name string, width, height int64) {
	b.t.Helper()
	dir := os.Getenv("DOCS")
	if dir == "" {
		return
	}
	b.do(chromedp.EmulateViewport(width, height))
	eval[bool](b, `(dispatchEvent(new Event('resize')), true)`)
	b.shoot(dir, name)
	b.do(chromedp.EmulateViewport(1280, 860))
}

// shoot keeps a picture of what is seen.
func (b *tab) shoot(dir, name string) {
	b.t.Helper()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
