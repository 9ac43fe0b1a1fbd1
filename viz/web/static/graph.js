// The graph: nodes at the places that viz gave them, and calls as lines between.

import { h, s } from './dom.js';
import * as f from './format.js';
import { nodeOf } from './parts.js';
import * as picture from './picture.js';

const narrow = () => innerWidth < 720;

// measures are a column's and a row's, and a node's, in pixels. On a narrow page calls run down.
const measures = () => (narrow()
  ? { down: true, column: 132, row: 126, w: 116, h: 48 }
  : { down: false, column: 312, row: 72, w: 172, h: 48 });

// view is what of the graph is looked at: null is all of it.
let view = null;
let bounds = null;

const many = 70; // edges, from which on labels are shown on demand and nothing moves

/** draw makes the graph of an answer. */
export function draw(graph, selected) {
  const m = measures();
  const at = new Map(graph.nodes.map((n) => [n.id, n]));
  const out = new Map();
  const into = new Map();
  for (const e of graph.edges) {
    out.set(e.from, (out.get(e.from) ?? 0) + 1);
    into.set(e.to, (into.get(e.to) ?? 0) + 1);
  }
  const edges = graph.edges.filter((e) => at.has(e.from) && at.has(e.to))
    .map((e) => ({ ...e, id: `${e.from}>${e.to}`,
      line: line(m, at.get(e.from), at.get(e.to), e.bends ?? [], lean(out.get(e.from), into.get(e.to), f.health(e.successRate))) }));
  bounds = around(graph, m);
  const box = view ?? fit();
  const busy = edges.length > many;
  return s('svg', { class: `graph${busy ? ' busy' : ''}`, id: 'graph', role: 'group', 'data-key': 'graph',
    'aria-label': 'The mesh as a graph. A table of the same calls follows.', height: tall(), viewBox: box.join(' ') },
  s('defs', { 'data-key': 'defs' }, ['good', 'warn', 'bad', 'idle'].map((kind) =>
    s('marker', { id: `tip-${kind}`, class: `tip ${kind}`, viewBox: '0 0 8 8', refX: 6.5, refY: 4,
      markerWidth: 9, markerHeight: 9, markerUnits: 'userSpaceOnUse', orient: 'auto-start-reverse' },
    s('path', { d: 'M0 .8 7 4 0 7.2z' })))),
  s('g', { 'data-key': 'lanes' }, graph.lanes.map((l) => lane(l, m))),
  s('g', { 'data-key': 'lines' }, edges.map((e) => edge(e, selected, busy))),
  s('g', { 'data-key': 'labels' }, edges.map((e) => label(e))),
  s('g', { 'data-key': 'nodes' }, graph.nodes.map((n) => node(n, m, selected))));
}

// lean is where on a line its label stands: towards the end at which fewer lines meet.
// That of a call that fails says more, and needs all the room.
const lean = (from, to, kind) => (kind === 'warn' || kind === 'bad' ? 0.5 : from > to ? 0.62 : to > from ? 0.42 : 0.5);

const center = (m, x, y) => (m.down ? [y * m.row, x * m.column] : [x * m.column, y * m.row]);

// line is a call's: smooth, through its bends, from side to side.
function line(m, from, to, bends, t) {
  const half = (m.down ? m.h : m.w) / 2;
  const flat = (x, y) => (m.down ? [x * m.column, y * m.row] : center(m, x, y));
  const text = ([a, c]) => (m.down ? `${c.toFixed(1)} ${a.toFixed(1)}` : `${a.toFixed(1)} ${c.toFixed(1)}`);
  const [a1, c1] = flat(from.x, from.y);
  const [a2, c2] = flat(to.x, to.y);
  const back = a2 <= a1;
  const stops = [[a1 + half, c1]];
  if (!back) {
    for (const [x, y] of bends) {
      const [a, c] = flat(x, y);
      stops.push([a - half, c], [a + half, c]);
    }
  }
  stops.push([a2 - half - 5, c2]);
  let d = `M${text(stops[0])}`;
  const parts = [];
  for (let i = 1; i < stops.length; i++) {
    const [p, q] = [stops[i - 1], stops[i]];
    const side = back ? (c2 >= c1 ? 1 : -1) * (m.down ? 90 : 64) : 0;
    const reach = back ? 70 : Math.max((q[0] - p[0]) * 0.5, 10);
    const c = [[p[0] + reach, p[1] + side], [q[0] - reach, q[1] + (back && c1 === c2 ? side : 0)]];
    d += `C${text(c[0])} ${text(c[1])} ${text(q)}`;
    parts.push([p, c[0], c[1], q]);
  }
  const [p, b, c, q] = parts[Math.min(parts.length - 1, Math.floor(t * parts.length))];
  const u = parts.length > 1 ? 0.5 : t;
  const v = 1 - u;
  const mid = [0, 1].map((k) => v ** 3 * p[k] + 3 * v * v * u * b[k] + 3 * v * u * u * c[k] + u ** 3 * q[k]);
  return { d, mid: m.down ? [mid[1], mid[0]] : mid };
}

function around(graph, m) {
  const points = graph.nodes.map((n) => center(m, n.x, n.y));
  if (points.length === 0) return [0, 0, 400, 200];
  const xs = points.map((p) => p[0]);
  const ys = points.map((p) => p[1]);
  const [left, top] = [Math.min(...xs) - m.w / 2 - 26, Math.min(...ys) - m.h / 2 - 38];
  return [left, top, Math.max(...xs) + m.w / 2 + 26 - left, Math.max(...ys) + m.h / 2 + 26 - top];
}

const place = () => document.getElementById('graph');
const width = () => place()?.clientWidth || Math.min(innerWidth, 1440) - 88;
const least = () => (narrow() ? 0.62 : 0.28); // a scale below which nothing can be read

// tall is how high the graph is on the page: as it needs, within what is seen at once.
function tall() {
  const scale = Math.max(Math.min(1.15, width() / bounds[2]), least());
  return Math.round(Math.max(place()?.closest('.beside') ? 440 : 300, Math.min(bounds[3] * scale, Math.max(380, innerHeight * 0.6), 720)));
}

// fit shows all, but nothing larger than life, and on a small screen nothing too small to read.
function fit() {
  const [pw, ph] = [width(), place()?.clientHeight || tall()];
  const [left, top, w, ht] = bounds;
  const scale = Math.min(1.15, Math.max(Math.min(pw / w, ph / ht), least()));
  const [vw, vh] = [pw / scale, ph / scale];
  const x = vw >= w || !narrow() ? left - (vw - w) / 2 : left;
  const y = vh >= ht ? top - (vh - ht) / 2 : top;
  return [x, y, vw, vh].map((v) => Math.round(v * 10) / 10);
}

/** refit is to be called once a graph is on the page, where alone its size is known. */
export function refit() {
  const svg = document.getElementById('graph');
  if (!svg || !bounds) return;
  svg.setAttribute('height', tall());
  if (!view) svg.setAttribute('viewBox', fit().join(' '));
  highlight();
}

function lane(l, m) {
  const [x1, y1] = center(m, l.left, l.top);
  const [x2, y2] = center(m, l.right, l.bottom);
  const [x, y] = [Math.min(x1, x2) - m.w / 2 - 14, Math.min(y1, y2) - m.h / 2 - 26];
  return s('g', { class: 'lane', 'data-key': l.namespace },
    s('rect', { x, y, width: Math.abs(x2 - x1) + m.w + 28, height: Math.abs(y2 - y1) + m.h + 40, rx: 14 }),
    s('g', { class: 'lane-title', role: 'button', tabindex: 0, 'data-do': 'fold', 'data-arg': l.namespace,
      'aria-label': `Show namespace ${l.namespace} as one node` },
    s('text', { x: x + 14, y: y + 18 }, l.namespace, s('tspan', { class: 'fold', dx: 8 }, '⊖'))));
}

const thickness = (e) => Math.min(8, 1.5 + 0.8 * Math.log2(1 + e.rps)).toFixed(1);

function edge(e, selected, busy) {
  const kind = f.health(e.successRate);
  const speed = e.rps > 100 ? 'fast' : e.rps > 10 ? 'mid' : 'slow';
  return s('g', { class: `edge ${kind}${selected === e.id ? ' selected' : ''}`, 'data-key': e.id,
    'data-edge': e.id, 'data-from': e.from, 'data-to': e.to, 'data-do': 'select', 'data-arg': e.id },
  s('path', { class: 'hit', d: e.line.d }),
  s('path', { class: 'line', d: e.line.d, 'stroke-width': thickness(e), 'marker-end': `url(#tip-${kind})` }),
  busy || kind === 'idle' ? null
    : s('path', { class: `flow ${speed}`, d: e.line.d, 'stroke-width': Math.max(2, thickness(e) - 2) }),
  s('title', null, describe(e)));
}

const lockPath = 'M-3.2 -.6v-1.7a3.2 3.2 0 0 1 6.4 0v1.7M-4.6 -.6h9.2v5.6h-9.2z';
const openPath = 'M-3.2 -.6v-1.7a3.2 3.2 0 0 1 6 -1.5M-4.6 -.6h9.2v5.6h-9.2z';

function label(e) {
  const kind = f.health(e.successRate);
  const parts = [e.p95Ms === undefined ? (e.rps > 0 ? f.rate(e.rps) : '') : f.ms(e.p95Ms)];
  if (kind === 'warn' || kind === 'bad') parts.unshift(f.percent(e.successRate));
  const text = parts.filter(Boolean).join(' · ');
  const open = !e.encrypted && e.security !== 'none';
  const icon = e.encrypted || open;
  const w = text.length * 6.2 + (icon ? 28 : 12);
  const [x, y] = e.line.mid;
  return s('g', { class: `label ${kind}${open ? ' open' : ''}`, 'data-key': e.id, 'data-edge': e.id,
    'data-from': e.from, 'data-to': e.to, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`,
    'aria-hidden': 'true' },
  s('rect', { x: -w / 2, y: -9.5, width: w, height: 19, rx: 9.5 }),
  icon ? s('path', { class: 'icon', transform: `translate(${(-w / 2 + 12).toFixed(1)} -.5)`, d: open ? openPath : lockPath }) : null,
  text ? s('text', { x: icon ? 8.5 : 0, y: 3.8, 'text-anchor': 'middle' }, text) : null);
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function node(n, m, selected) {
  const kind = f.health(n.successRate);
  const [x, y] = center(m, n.x, n.y);
  const outer = n.kind === 'namespace' ? 'many' : n.kind === 'service' ? 'service'
    : n.proxies > 0 || n.kind === 'serviceaccount' ? '' : 'unmeshed';
  const round = n.kind === 'service' ? m.h / 2 : 10;
  const letters = m.down ? 10 : 20;
  return s('g', { class: `node ${kind} ${outer}${selected === n.id ? ' selected' : ''}`, 'data-key': n.id,
    'data-node': n.id, 'data-do': 'select', 'data-arg': n.id, tabindex: 0, role: 'button',
    transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, 'aria-label': describeNode(n) },
  outer === 'many' ? s('rect', { class: 'behind', x: -m.w / 2 + 5, y: -m.h / 2 - 5, width: m.w, height: m.h, rx: 10 }) : null,
  s('rect', { class: 'body', x: -m.w / 2, y: -m.h / 2, width: m.w, height: m.h, rx: round }),
  s('circle', { class: 'mark', cx: -m.w / 2 + 18, cy: 0, r: 8.5 }),
  s('text', { class: 'mark', x: -m.w / 2 + 18, y: 3.6, 'text-anchor': 'middle' }, f.marks[kind]),
  s('text', { class: 'name', x: -m.w / 2 + 34, y: -3 }, cut(n.name, letters)),
  s('text', { class: 'sub', x: -m.w / 2 + 34, y: 13 }, cut(sub(n, m.down), letters + 4)),
  s('title', null, `${n.name}${n.namespace ? ` in ${n.namespace}` : ''}`));
}

function sub(n, down) {
  if (n.kind === 'namespace') return `${(n.workloads ?? []).length} workloads · ${f.rate(n.rps)}/s`;
  if (n.kind === 'outside') return 'callers';
  if (n.rps === 0 && n.successRate === undefined) return n.requests ? 'idle now' : 'not called';
  return down ? `${f.rate(n.rps)}/s` : `${f.rate(n.rps)}/s · ${f.percent(n.successRate)}`;
}

const describe = (e) => `${nodeOf(e.from).name} → ${nodeOf(e.to).name}: ${f.rate(e.rps)} req/s, ` +
  `${f.percent(e.successRate)} succeed, p95 ${f.ms(e.p95Ms)}, ${e.encrypted ? 'mTLS' : e.reason || e.security}`;

const describeNode = (n) => `${n.kind} ${n.name}${n.namespace ? ` in ${n.namespace}` : ''}, ` +
  `${f.rate(n.rps)} requests per second, ${f.percent(n.successRate)} succeed, p95 ${f.ms(n.p95Ms)}`;

/** save saves all of the graph as a file, where there is one, and says so. */
export function save() {
  const svg = document.getElementById('graph');
  if (!svg) return false;
  const ground = getComputedStyle(svg.closest('.panel')).backgroundColor;
  const text = picture.picture(svg, bounds, ground, `The mesh, ${new Date().toLocaleString('en-GB')}`);
  picture.save('mesh.svg', text, 'image/svg+xml');
  return true;
}

let over = null;

// highlight leaves what is next to the node or line under the pointer, or with the focus.
function highlight() {
  const svg = document.getElementById('graph');
  if (!svg) return;
  const near = new Set();
  if (over) {
    for (const e of svg.querySelectorAll('.edge, .label')) {
      const { edge: id, from, to } = e.dataset;
      if (over === id || over === from || over === to) near.add(e).add(from).add(to);
    }
    near.add(over);
  }
  svg.classList.toggle('focus', near.size > 1);
  for (const e of svg.querySelectorAll('.edge, .label, .node')) {
    e.classList.toggle('near', near.has(e) || near.has(e.dataset.node));
  }
}

/** hover follows the pointer and the focus. */
export function hover(target) {
  const one = target?.closest?.('#graph [data-node], #graph [data-edge]');
  const id = one ? one.dataset.node ?? one.dataset.edge : null;
  if (id === over) return;
  over = id;
  highlight();
}

/** zoom makes the graph larger or smaller around a place on the screen; 0 shows all. */
export function zoom(by, at) {
  const svg = document.getElementById('graph');
  if (!svg) return;
  if (by === 0) {
    view = null;
    refit();
    return;
  }
  const [x, y, w, ht] = view ?? svg.getAttribute('viewBox').split(' ').map(Number);
  const box = svg.getBoundingClientRect();
  const [fx, fy] = at ? [(at[0] - box.left) / box.width, (at[1] - box.top) / box.height] : [0.5, 0.5];
  const nw = Math.min(20000, Math.max(160, w / by));
  const nh = (ht * nw) / w;
  view = [x + (w - nw) * fx, y + (ht - nh) * fy, nw, nh];
  svg.setAttribute('viewBox', view.join(' '));
}

/** drag moves what is looked at. */
export function drag(event) {
  const svg = document.getElementById('graph');
  if (!svg || !svg.contains(event.target) || event.button !== 0) return;
  const begin = [event.clientX, event.clientY];
  const [x, y, w, ht] = svg.getAttribute('viewBox').split(' ').map(Number);
  const scale = w / svg.clientWidth;
  let moved = false;
  const move = (e) => {
    const [dx, dy] = [e.clientX - begin[0], e.clientY - begin[1]];
    if (!moved && Math.hypot(dx, dy) < 5) return;
    moved = true;
    svg.classList.add('moving');
    view = [x - dx * scale, y - dy * scale, w, ht];
    svg.setAttribute('viewBox', view.join(' '));
  };
  const end = () => {
    removeEventListener('pointermove', move);
    removeEventListener('pointerup', end);
    removeEventListener('pointercancel', end);
    svg.classList.remove('moving');
    if (moved) addEventListener('click', (e) => e.stopPropagation(), { capture: true, once: true });
  };
  addEventListener('pointermove', move);
  addEventListener('pointerup', end);
  addEventListener('pointercancel', end);
}

/** step moves the focus to the next node in a direction. */
export function step(key) {
  const from = document.activeElement?.closest?.('#graph [data-node]');
  const all = [...document.querySelectorAll('#graph [data-node]')];
  if (!from) return false;
  const middle = (e) => {
    const b = e.getBoundingClientRect();
    return [b.left + b.width / 2, b.top + b.height / 2];
  };
  const [x, y] = middle(from);
  const [dx, dy] = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key];
  let best = null;
  let least = Infinity;
  for (const e of all) {
    const [ex, ey] = middle(e);
    const along = (ex - x) * dx + (ey - y) * dy;
    const aside = Math.abs((ex - x) * dy) + Math.abs((ey - y) * dx);
    if (e === from || along < 4) continue;
    const far = along + 2 * aside;
    if (far < least) [least, best] = [far, e];
  }
  best?.focus();
  return true;
}

/** legend says what lines and marks mean. */
export const legend = () => h('p', { class: 'legend-line' },
  [['good', 'all is well'], ['warn', 'below 99 %'], ['bad', 'below 95 %'], ['idle', 'no requests']].map(([kind, text]) =>
    h('span', { class: `key ${kind}`, 'data-key': kind }, s('svg', { class: 'sample', viewBox: '0 0 34 8', 'aria-hidden': 'true' },
      s('g', { class: `edge ${kind}` }, s('path', { class: 'line', d: 'M1 4H33', 'stroke-width': 3 }))),
    `${f.marks[kind]} ${text}`)),
  h('span', { class: 'key' }, 'width: requests/s'), h('span', { class: 'key' }, 'label: p95'));
