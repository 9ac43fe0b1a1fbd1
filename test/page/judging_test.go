package page

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// changed are the rows of what has changed, and the first of them the worst.
const changed = `[...document.querySelectorAll('table[aria-label=Changes] tbody tr')]`

// fault makes two in five payments fail.
const fault = `apiVersion: tulle.dev/v1alpha1
kind: FaultInjection
metadata: {name: payments, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: payments}]
  abort: {status: 503, percent: 40}
  until: "2099-12-31T00:00:00Z"
`

// worse has something become worse, and looks for it among the changes.
func worse(t *testing.T, d *demo, b *tab, base string) {
	t.Helper()
	path := filepath.Join(d.dir, "profiles", "fault.yaml")
	if err := os.WriteFile(path, []byte(fault), 0o644); err != nil {
		t.Fatal(err)
	}
	b.open(base+"/service/shop/payments?window=30s&compare=before", changed+`.length >= 3 && `+
		changed+`[0].querySelector('.bad')?.textContent.includes('points')`)
	for what, script := range map[string]string{
		"of all payments fewer succeed": changed + `.some((r) =>
			r.cells[0].textContent === 'All requests' && r.cells[2].querySelector('.bad') &&
			r.cells[1].textContent.split('→').map(parseFloat).reduce((a, b) => a - b) > 10)`,
		"their page says how many": `document.querySelector('.tile.bad').textContent
			.includes('failed')`,
	} {
		b.wait(what, script, 10*time.Second)
	}
	b.shoot(pictures, "worse")
	b.document("changes", 1280, 700)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// compared holds a window against another one, by keys, and a chosen time.
func compared(b *tab, base string) {
	b.t.Helper()
	b.open(base+"/service/shop/checkout", `document.querySelectorAll('.chart').length === 3`)
	b.press("x")
	b.wait("the window before", `location.search === '?compare=before' && `+changed+`.length >= 3`,
		10*time.Second)
	shown := eval[[]float64](b, `(async () => {
		const cell = `+changed+`.find((r) => r.cells[0].textContent === 'All requests').cells[5];
		const ago = (text) => fetch('/api/stat?resource=svc/checkout&namespace=shop&ago=' + text)
			.then((r) => r.json()).then((s) => s.rows[0].rps);
		const numbers = cell.textContent.split('→').map(Number);
		return [...numbers, await ago('60s'), await ago('0s')];
	})()`)
	for i := range 2 {
		if got, want := shown[i], shown[i+2]; got < 0.7*want || got > 1.3*want || want == 0 {
			b.t.Errorf("of both windows %v requests a second are shown, and viz says %v",
				shown[:2], shown[2:])
		}
	}
	b.press("x")
	b.wait("nothing to compare with", `location.search === '' && `+changed+`.length === 0`,
		5*time.Second)
	b.ignore(true) // the console tells an answer of 400
	hour := time.Now().Add(-time.Hour).UTC().Format("2006-01-02T15:04Z")
	b.open(base+"/?compare="+hour, `document.body.innerText.includes('remembers nothing') &&
		document.querySelector('input[type=time]')`)
	b.ignore(false)
	now := time.Now().Add(-time.Minute).UTC().Format("2006-01-02T15:04:05Z")
	b.open(base+"/?compare="+now, changed+`.length >= 7`)
}

// modules are what a script needs to ask views of the page what they make of an answer.
const modules = `const view = (name) => import('/static/views/' + name + '.js');
const s = { q: { get: () => undefined }, search: () => '', link: (href) => href,
	other: () => ({}), compared: () => 'another window' };
const text = (node) => node?.textContent ?? '';
`

// The graver objective is first, and tells of its alert.
const graveFirst = `
const pair = { severity: 'page', burn: 14.4, long: '1h', short: '5m' };
const one = (name, left, alert, rate) => ({
	name, namespace: 'shop', service: 'web', objective: 0.999, windowSeconds: 2592000,
	since: '2026-11-01T00:00:00Z', requests: 9000, bad: 90, successRate: 0.99,
	budgetLeft: left, exhaustedInSeconds: left > 0 ? 64740 : null, alert, alerts: [pair],
	burns: [{ window: '1h', windowSeconds: 3600, requests: 900, rate, known: 1 }] });
const rows = [one('calm', 0.97, null, 0.5), one('low', 0.2, null, 0.5),
	one('spent', -0.5, null, 0.5), one('loud', 0.6, pair, 21.2)];
const { view: show, badge, standing } = await view('objectives');
const drawn = show(s, { slo: { data: { rows } } });
const lines = [...drawn.querySelectorAll('tbody tr')];
return [rows.map(standing).join() === 'good,warn,bad,bad' &&
	lines.map((r) => text(r.querySelector('b'))).join() === 'spent,loud,low,calm' &&
	text(lines[0]).includes('−50.0 %') && text(lines[0]).includes('used up') &&
	text(lines[1]).includes('page · 1h') && text(lines[1].querySelector('td .bad')) &&
	text(lines[3]).includes('99.9 %') && text(lines[3]).includes('18 h') &&
	text(badge(s, { rows: [rows[3]] }, 'service/shop/web')).includes('page') &&
	badge(s, { rows }, 'service/shop/else') === null, text(drawn)];`

// The worst change is first, and what has few requests is not judged.
const worstFirst = `
const of = (name, requests, successRate, p99Ms) => ({ name, windowRequests: requests,
	rps: requests / 60, successRate, p99Ms });
const then = [of('slower', 600, 1, 10), of('fails', 600, 1, 10), of('same', 600, 1, 10),
	of('few', 3, 1, 10), of('gone', 600, 1, 10), of('busier', 600, 1, 10)];
const now = [of('same', 610, 1, 10.2), of('few', 3, 0, 10), of('busier', 1800, 1, 10),
	of('new', 600, 1, 10), of('fails', 600, 0.9, 10), of('slower', 600, 1, 50)];
const window = { seconds: 60, end: '2026-11-30T12:00:00Z', historyFrom: '2026-11-30T11:00:00Z' };
const { rows, panel } = await view('changes');
const drawn = panel(s, { data: { window } },
	rows(now, then, { key: (r) => r.name, what: (r) => r.name }));
const names = [...drawn.querySelectorAll('tbody tr')].map((r) => r.dataset.key);
const row = (name) => text(drawn.querySelector('[data-key=' + name + ']'));
return [names.slice(0, 2).join() === 'fails,slower' &&
	names.slice(2, 4).sort().join() === 'gone,new' && names[4] === 'busier' &&
	names[6] === 'few' && row('fails').includes('100 % → 90.0 %') &&
	row('fails').includes('▼ −10.00 points') && row('slower').includes('▼ +400 %') &&
	row('few').includes('−100.00 points') &&
	drawn.querySelectorAll('[data-key=few] .bad').length === 0, text(drawn)];`

// Endpoints are there once viz tells of them, the ejected ones first.
const ejectedFirst = `
const row = (state, more) => ({ proxy: 'shop/web-1', service: 'shop/checkout:80',
	address: '10.0.0.' + state.length + ':80', pod: state + '-1', ewmaMs: 1.25, inFlight: 3,
	weight: 1, state, ...more });
const until = new Date(Date.now() + 30000).toISOString();
const data = { silent: ['shop/web-2'],
	rows: [row('ready'), row('unhealthy'), row('probation'), row('ejected', { until })] };
const o = { kind: 'service', namespace: 'shop', name: 'checkout' };
const { panel } = await view('endpoints');
const drawn = panel(s, o, { data });
const states = [...drawn.querySelectorAll('td .state')].map(text);
return [states.map((t) => t.match(/[a-z]+/)[0]).join() === 'ejected,unhealthy,probation,ready' &&
	states[0].includes('for 30 s') && text(drawn).includes('web-2') &&
	text(drawn).includes('1.3 ms') && panel(s, o, { missing: true }) === null &&
	panel(s, o, undefined) === null, text(drawn)];`

// judgements asks views what they make of answers that the demo does not give in its first minutes.
func judgements(b *tab, base string) {
	b.t.Helper()
	b.open(base+"/objectives", `document.querySelector('.view')`)
	for what, script := range map[string]string{
		"objectives": graveFirst, "changes": worstFirst, "endpoints": ejectedFirst,
	} {
		got := eval[[]any](b, "(async () => { "+modules+script+" })()")
		if len(got) != 2 || got[0] != true {
			b.t.Errorf("the page does not make of %s what it should: %v", what, got)
		}
	}
}
