// How a window differs from another one: the one before it, an earlier one, or one of a chosen time.

import { h } from '../dom.js';
import * as d from '../difference.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { table } from '../table.js';

/** earlier asks the same questions about the other window; their answers are named before. */
export function earlier(s, questions) {
  const then = s.other();
  if (!then) return [];
  return questions.map(({ name, path, params }) => ({ name: `${name}Before`, path, every: 5,
    params: { ...params, ago: undefined, ...then } }));
}

/** rows pairs what there is now with what there was: { key, what, now, then }. */
export function rows(now, then, { key, what }) {
  const known = new Map(then.map((r) => [key(r), r]));
  const paired = now.map((r) => ({ key: key(r), what: what(r), now: r, then: known.get(key(r)) ?? {} }));
  const there = new Set(paired.map((r) => r.key));
  const gone = [...known].filter(([k]) => !there.has(k)).map(([k, r]) => ({ key: k, what: what(r), now: {}, then: r }));
  return [...paired, ...gone].filter((r) => r.now.windowRequests || r.then.windowRequests);
}

// worst is larger the worse a change is: what succeeds less first, then what is slower, then what is
// asked more or less than before.
function worst({ now, then }) {
  if (!d.judged(then, now)) return standing({ now, then }) ? 50 : -1;
  const lost = d.compare(d.success, then, now) === 'bad' ? then.successRate - now.successRate : 0;
  const slower = d.compare(d.p99, then, now) === 'bad' ? now.p99Ms / then.p99Ms : 0;
  return (lost && 1000 * (1 + lost)) + (slower && 100 * Math.min(slower, 9)) + Math.min(Math.abs(Math.log2(now.rps / then.rps)), 9);
}

// standing is new or gone, of what has enough requests in one of the windows and none in the other.
function standing({ now, then }) {
  if (!then.windowRequests && now.windowRequests >= d.enough) return 'new';
  if (!now.windowRequests && then.windowRequests >= d.enough) return 'gone';
  return '';
}

const moved = (m, r) => h('span', { class: 'moved' }, h('span', { class: 'was' }, `${m.show(m.of(r.then))} → `), m.show(m.of(r.now)));

const measure = (id, m) => [
  { id, title: m.name, number: true, value: (r) => m.of(r.now), cell: (r) => moved(m, r) },
  { id: `d${id}`, title: 'Change', number: true, value: (r) => change(m, r), cell: (r) => d.verdict(m, r.then, r.now) },
];

function change(m, r) {
  const [a, b] = [m.of(r.then), m.of(r.now)];
  return a === undefined || b === undefined || a === null || b === null ? null : m.relative ? b / a : b - a;
}

/** panel shows pairs, the worst change first. window is the other window, as viz answered it. */
export function panel(s, answer, pairs) {
  if (!s.other()) return null;
  const window = answer?.data?.window;
  const title = `Compared with ${s.compared()}`;
  const why = answer?.error ?? answer?.problem;
  if (why) return p.panel(title, p.empty('Viz remembers nothing of that time.', why));
  if (!window) return p.panel(title, p.waiting(answer, 'that window'));
  const begin = Date.parse(window.end) - window.seconds * 1000;
  const from = window.historyFrom ? Date.parse(window.historyFrom) : Infinity;
  if (from > begin + window.seconds * 500) { // what had begun by then would look new
    return p.panel(title, p.empty('Viz remembers nothing of that time, or too little.', from < Infinity ? `It does since ${f.clock(from)}.` : null));
  }
  const sorted = [...pairs].sort((a, b) => worst(b) - worst(a));
  return p.panel(title, h('p', { class: 'note' }, `That is ${f.clock(begin)} to ${f.clock(window.end)}, of which viz remembers `,
    from > begin + 5000 ? `what was after ${f.clock(from)}` : 'all',
    `. The worst change comes first; fewer than ${d.enough} requests are not judged.`),
  sorted.length ? table({ id: 'changes', label: 'Changes', rows: sorted, key: (r) => r.key, sort: s.q.get('sort'), most: 20, columns: [
    { id: 'what', title: 'What', value: (r) => r.key, cell: (r) => [r.what, standing(r) ? h('span', { class: `chip ${standing(r) === 'gone' ? 'warn' : ''}` }, standing(r)) : null] },
    ...measure('ok', d.success), ...measure('p99', d.p99), ...measure('rps', d.rate),
  ] }) : p.empty('Nothing was called in either window.'));
}
