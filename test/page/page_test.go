package page

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// pictures are kept here.
const pictures = programs + "/page"

// views are all of the page's, and what must come up in each.
var views = []struct{ name, path, shows string }{
	{"overview", "/", `document.querySelectorAll('.tile').length >= 6 &&
		document.querySelectorAll('table[aria-label="Workloads"] tbody tr').length >= 7`},
	{"graph", "/graph", `document.querySelectorAll('#graph .node').length >= 9 &&
		document.querySelectorAll('#graph .edge').length >= 8`},
	{"services", "/services",
		`document.querySelectorAll('tbody tr').length >= 5`},
	{"workloads", "/workloads", `document.querySelectorAll('tbody tr').length >= 7`},
	{"service", "/service/shop/checkout", `document.querySelectorAll('.chart .line').length >= 6 &&
		document.querySelector('table[aria-label=Routes] tbody tr')`},
	{"workload", "/workload/shop/deployment/inventory",
		`document.querySelectorAll('table[aria-label=Instances] tbody tr').length === 2`},
	{"canary", "/canary", `document.body.innerText.includes('payments-v2')`},
	{"changes", "/service/shop/checkout?compare=before",
		`document.querySelectorAll('table[aria-label=Changes] tbody tr').length >= 3`},
	{"objectives", "/objectives", `document.querySelectorAll('.budget .meter').length === 2 &&
		document.body.innerText.includes('coupon')`},
	{"policies", "/limits", `document.body.innerText.includes('coupon') &&
		document.body.innerText.includes('1/3')`},
	{"identities", "/identities", `document.querySelectorAll('.strip li').length === 11 &&
		document.body.innerText.includes('spiffe://cluster.local/ns/shop/sa/web')`},
	{"live", "/live", `document.querySelector('.panel')`},
	{"traces", "/traces", `document.querySelector('.panel')`},
}

func TestThePage(t *testing.T) {
	d := startDemo(t)
	b := openTab(t)
	base := d.address[:strings.Index(d.address, "/?")]
	b.ignore(true) // a refusal is told by the console, too
	b.open(base+"/", `document.body.innerText.includes('meshctl dashboard')`)
	b.ignore(false)
	b.open(d.address, `document.querySelector('.view')`)
	b.look(1280, "light")
	for _, v := range views {
		b.open(base+v.path, v.shows)
		for _, width := range []int64{1280, 390} {
			for _, theme := range []string{"light", "dark"} {
				b.look(width, theme)
				b.readable(v.name, width, theme)
				b.shoot(pictures, fmt.Sprintf("%s-%d-%s", v.name, width, theme))
			}
		}
		b.look(1280, "light")
		b.quiet(v.name)
	}
	b.open(base+"/graph", views[1].shows)
	clickThrough(b)
	b.quiet("clicking through")
	forDocs(b, base)
	picture(b, base)
	worse(t, d, b, base)
	compared(b, base)
	judgements(b, base)
	endpoints(t, b, base)
	b.quiet("what the page makes of answers")
	numbers(t, d, b, base)
	b.open(base+"/workload/shop/deployment/web", `document.getElementById('total')`)
	restart(t, d, b)
	b.quiet("after viz was restarted")
}

// open goes to an address, and waits for what must come up, over documents that lead on.
func (b *tab) open(url, shows string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
	var said bool
	var err error
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); {
		said, err = chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+shows+")"))
		if err == nil && said {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.shoot(pictures, "failed")
	b.t.Fatalf("%s never shows %s (%v); it says\n%s", url, shows, err,
		eval[string](b, `document.body.innerText.slice(0, 2000)`))
}

// contrast finds texts that stand out too little from their ground: WCAG 2, level AA.
const contrast = `(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const parse = (c) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = c;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((n, w, i) => {
    const v = c[i] / 255;
    return n + w * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ground = (e) => {
    const over = [];
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      over.push(c);
      if (c[3] === 255) break;
    }
    return over.reverse().reduce((under, c) => under.map((v, i) => v + (c[i] - v) * c[3] / 255));
  };
  const out = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (e.closest('svg') || !e.checkVisibility()) continue;
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const what = e.className + ' "' + e.textContent.slice(0, 30) + '" ' + ratio.toFixed(2);
    if (ratio < 4.5) out.add(what);
  }
  return [...out].slice(0, 10).join('; ');
})()`

// crooked finds columns of numbers whose heading does not end where the numbers do.
const crooked = `(() => {
  const right = (e) => {
    const range = document.createRange();
    range.selectNodeContents(e);
    return Math.max(...[...range.getClientRects()].map((r) => r.right));
  };
  const out = [];
  for (const table of document.querySelectorAll('table')) {
    [...table.tHead?.rows[0]?.cells ?? []].forEach((th, i) => {
      const cells = [...table.tBodies[0].rows].map((r) => r.cells[i])
        .filter((td) => td?.textContent.trim());
      if (!cells.some((td) => td.classList.contains('number')) || !th.textContent.trim()) return;
      const off = Math.max(...cells.map((td) => Math.abs(right(td) - right(th))));
      if (off > 1) out.push(table.ariaLabel + ' ' + th.textContent + ' by ' + off.toFixed(1));
    });
  }
  return out.join('; ');
})()`

// readable holds a page against what makes it hard to read.
func (b *tab) readable(name string, width int64, theme string) {
	b.t.Helper()
	if wide := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		b.t.Errorf("%s at %d px is %d px too wide", name, width, wide)
	}
	if faint := eval[string](b, contrast); faint != "" {
		b.t.Errorf("%s in %s: too faint: %s", name, theme, faint)
	}
	if off := eval[string](b, crooked); off != "" {
		b.t.Errorf("%s at %d px: headings are not above their numbers: %s", name, width, off)
	}
	inline := `document.querySelectorAll('[style], script:not([src]), style').length -
		document.querySelectorAll('[data-share][style]').length`
	if styled := eval[int](b, inline); styled > 0 {
		b.t.Errorf("%s has %d inline styles or scripts", name, styled)
	}
}

// clickThrough uses the page as a user does, by pointer and by keys.
func clickThrough(b *tab) {
	b.t.Helper()
	checkout := `[data-node="deployment/shop/checkout"]`
	eval[bool](b, `(document.querySelector('`+checkout+`')
		.dispatchEvent(new PointerEvent('pointerover', { bubbles: true })), true)`)
	b.wait("what is next to it", `document.querySelectorAll('#graph .node.near').length >= 5 &&
		document.querySelectorAll('#graph .node:not(.near)').length >= 1`, 5*time.Second)
	press := b.press
	eval[bool](b, `(document.querySelector('`+checkout+`').focus(), true)`)
	press("ArrowLeft")
	b.wait("the arrow", `document.activeElement.dataset.node !== 'deployment/shop/checkout' &&
		document.activeElement.dataset.node`, 5*time.Second)
	eval[bool](b, `(document.querySelector('`+checkout+`').focus(), true)`)
	press("Enter")
	b.wait("details", `document.querySelector('aside h2')?.textContent === 'checkout' &&
		location.search.includes('sel=deployment/shop/checkout')`, 5*time.Second)
	press("Escape")
	b.wait("no details", `!document.querySelector('aside')`, 5*time.Second)
	press("/")
	b.wait("the filter", `document.activeElement.id === 'filter'`, 5*time.Second)
	typed := func(text string) {
		eval[bool](b, fmt.Sprintf(`(() => { const f = document.getElementById('filter');
			f.value = %q;
			return f.dispatchEvent(new Event('input', { bubbles: true })); })()`, text))
	}
	typed("to=web")
	b.wait("one call", `document.querySelectorAll('#graph .edge').length === 1 &&
		location.search.includes('filter=to%3Dweb')`, 10*time.Second)
	b.ignore(true) // the console tells an answer of 400
	typed("size>3")
	b.wait("what is wrong", `document.getElementById('filter-problem').textContent
		.includes('no field')`, 10*time.Second)
	typed("")
	b.wait("all calls", `document.querySelectorAll('#graph .edge').length >= 8`, 10*time.Second)
	eval[bool](b, `(document.activeElement.blur(),
		document.querySelector('[data-arg="group=service"]').click(), true)`)
	b.wait("services", `document.querySelectorAll('#graph .node.service').length >= 5`,
		10*time.Second)
	press("?")
	b.wait("the keys", `document.querySelector('dialog[open]')`, 5*time.Second)
	eval[bool](b, `(document.querySelector('dialog').close(), true)`)
	b.ignore(false)
	press("g")
	press("s")
	payments := `[...document.querySelectorAll('tbody a.name')]
		.find((a) => a.textContent.startsWith('payments'))`
	b.wait("the services", `location.pathname === '/services' && Boolean(`+payments+`)`,
		10*time.Second)
	eval[bool](b, `(`+payments+`.click(), true)`)
	b.wait("its page", `location.pathname === '/service/shop/payments' &&
		document.querySelectorAll('.chart').length === 3 && document.getElementById('command')
		.textContent === 'meshctl viz routes svc/payments -n shop'`, 10*time.Second)
	press("[")
	b.wait("the past", `location.search.includes('ago=60s') &&
		document.querySelector('.when.past') &&
		document.getElementById('command').textContent.endsWith('--ago 60s')`, 10*time.Second)
	press("]")
	b.wait("now", `!location.search.includes('ago') &&
		!document.querySelector('.when.past')`, 10*time.Second)
}

// numbers holds the page's against the load generator's: what that has sent by now the page shows
// soon, and never more. One in a hundred may be on its way.
func numbers(t *testing.T, d *demo, b *tab, base string) {
	t.Helper()
	total := `(Number(document.getElementById('total')?.textContent.replaceAll(',', '') ?? 0))`
	b.open(base+"/workload/shop/deployment/web", total+" > 0")
	for range 3 {
		before, err := d.counts(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		b.wait("what was sent", fmt.Sprintf("%s >= %f", total, 0.99*float64(before.Requests)),
			4*time.Second)
		shown := eval[float64](b, total)
		after, err := d.counts(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if shown > 1.01*float64(after.Requests) {
			t.Errorf("the page shows %v requests, the load generator %d", shown, after.Requests)
		}
		t.Logf("sent: %d, shown: %.0f, then sent: %d", before.Requests, shown, after.Requests)
	}
	share := func() (float64, float64) {
		c, err := d.counts(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		row := eval[[]float64](b, `fetch('/api/stat?resource=deploy/web').then((r) => r.json())
			.then((s) => [s.rows[0].requests, s.rows[0].failures])`)
		return 1 - row[1]/row[0], float64(c.OK) / float64(c.Requests)
	}
	if shown, sent := share(); math.Abs(shown-sent) > 0.01 {
		t.Errorf("the page's figures: %.4f succeed, the load generator's: %.4f", shown, sent)
	}
}

// restart ends viz and starts another: the page goes on by itself.
func restart(t *testing.T, d *demo, b *tab) {
	t.Helper()
	b.ignore(true)
	d.meshctl(t, "dev", "restart", "viz")
	begin := time.Now()
	b.wait("the page", `document.querySelector('.when').textContent === 'live' &&
		!document.querySelector('.lost')`, 10*time.Second)
	t.Logf("it goes on %s after viz was restarted", time.Since(begin).Round(time.Millisecond))
	total := `Number(document.getElementById('total')?.textContent.replaceAll(',', ''))`
	now := eval[float64](b, total)
	b.wait("its figures", fmt.Sprintf("%s > %f", total, now+50), 10*time.Second)
	b.ignore(false)
}

// forDocs makes the pictures of the docs, beside that of changes.
func forDocs(b *tab, base string) {
	b.open(base+"/graph?sel=deployment/shop/checkout", views[1].shows)
	b.document("graph", 1280, 700)
	b.open(base+"/service/shop/checkout", views[4].shows)
	b.document("service", 1280, 700)
	b.open(base+"/objectives", `document.querySelectorAll('.budget .meter').length === 2`)
	b.document("objectives", 1280, 480)
}

// A thousand services: first as namespaces, each can be opened; and all of it soon.
func TestAThousandServices(t *testing.T) {
	load := begin(t, t.TempDir(), "vizload", "-services", "1000")
	viz := load.says(t, "127.0.0.1:", time.Minute)
	page := begin(t, t.TempDir(), "meshctl", "dashboard", "--viz-addr", viz)
	address := page.says(t, "/?token=", time.Minute)
	base := address[:strings.Index(address, "/?")]
	b := openTab(t)
	b.look(1280, "light")
	b.open(address, `document.querySelector('.view')`)
	b.open(base+"/graph", `document.querySelectorAll('#graph .node').length === 20 &&
		document.querySelectorAll('#graph .edge').length > 20`)
	b.readable("a thousand services", 1280, "light")
	b.shoot(pictures, "thousand-namespaces")
	paint, figures := math.Inf(1), math.Inf(1)
	for range 3 {
		b.open(base+"/graph", `document.querySelectorAll('#graph .node').length === 20`)
		at := eval[[]float64](b, `['first-contentful-paint', 'figures']
			.map((name) => performance.getEntriesByName(name)[0].startTime)`)
		paint, figures = min(paint, at[0]), min(figures, at[1])
	}
	query := eval[float64](b, `(async () => { let best = 1e9; for (let i = 0; i < 10; i++) {
		const t = performance.now(); await (await fetch('/api/graph')).json();
		best = Math.min(best, performance.now() - t); } return best; })()`)
	t.Logf("first paint after %.0f ms, with figures after %.0f ms; a graph takes %.0f ms",
		paint, figures, query)
	if paint > 1000 || figures > 1000 {
		t.Errorf("the first paint takes %.0f ms, and %.0f ms with figures", paint, figures)
	}
	if query > 50 {
		t.Errorf("a graph takes %.0f ms", query)
	}
	eval[bool](b, `(document.querySelector('[data-node="namespace/team-03/team-03"]')
		.dispatchEvent(new MouseEvent('click', { bubbles: true })), true)`)
	b.wait("details", `document.querySelector('aside h2')?.textContent === 'team-03'`,
		10*time.Second)
	eval[bool](b, `(document.querySelector('aside button.main').click(), true)`)
	b.wait("its workloads", `document.querySelectorAll('#graph .node').length >= 60`,
		15*time.Second)
	b.shoot(pictures, "thousand-one-open")
	b.open(base+"/workloads", `document.querySelectorAll('tbody tr').length === 200`)
	b.shoot(pictures, "thousand-workloads")
	b.quiet("a thousand services")
}
