// Charts of a course: lines over time, with a value under the pointer in all charts at once.

import { h, s } from './dom.js';
import * as f from './format.js';

const narrow = () => innerWidth < 560;
const known = new Map(); // what charts on the page show, by their keys

/** forget drops what charts of another view showed. */
export const forget = () => known.clear();

/**
 * chart draws lines { name, kind, values } of a course. format is for values; zero and most bound
 * the axis where they are given.
 */
export function chart(key, title, course, lines, { format = f.rate, least = 0, most, area = true } = {}) {
  const [w, ht] = narrow() ? [360, 150] : [460, 160];
  const pad = { left: 46, right: 8, top: 8, bottom: 20 };
  const values = lines.flatMap((l) => l.values.filter((v) => v !== null));
  const bottom = typeof least === 'function' ? least(values) : least;
  const top = most ?? nice(Math.max(...values, bottom + 1e-9));
  const n = lines[0].values.length;
  const x = (i) => pad.left + ((w - pad.left - pad.right) * (i + 0.5)) / Math.max(n, 1);
  const y = (v) => ht - pad.bottom - ((ht - pad.top - pad.bottom) * (v - bottom)) / (top - bottom || 1);
  known.set(key, { course, lines, format, x, y, w, pad, ht });
  return h('figure', { class: 'chart', 'data-key': key, 'data-chart': key },
    h('figcaption', null, h('span', { class: 'title' }, title),
      h('span', { class: 'legend' }, lines.map((l) => h('span', { class: `key ${l.kind}`, 'data-key': l.name },
        h('i', { 'aria-hidden': 'true' }), l.name, ' ', h('b', null, format(last(l.values))))))),
    s('svg', { viewBox: `0 0 ${w} ${ht}`, role: 'img',
      'aria-label': `${title}: ${lines.map((l) => `${l.name} ${format(last(l.values))}`).join(', ')} now` },
    s('g', { class: 'grid' }, [0, 0.5, 1].map((part) => {
      const v = bottom + (top - bottom) * part;
      return [s('line', { x1: pad.left, x2: w - pad.right, y1: y(v), y2: y(v) }),
        s('text', { x: pad.left - 6, y: y(v) + 3.5, 'text-anchor': 'end' }, format(v))];
    }), ticks(course, n).map(([i, text]) =>
      s('text', { x: x(i), y: ht - 5, 'text-anchor': 'middle' }, text))),
    values.length === 0 ? s('text', { class: 'nothing', x: (w + pad.left) / 2, y: ht / 2, 'text-anchor': 'middle' },
      'nothing was measured') : null,
    lines.map((l, at) => [
      area && at === 0 ? s('path', { class: `area ${l.kind}`, d: path(l.values, x, y, y(bottom)) }) : null,
      s('path', { class: `line ${l.kind}`, d: path(l.values, x, y) })]),
    s('g', { class: 'cross', 'data-keep': true })));
}

/** spark is a line alone. */
export function spark(values, kind = 'a') {
  const all = values.filter((v) => v !== null && v !== undefined);
  const top = Math.max(...all, 1e-9);
  const x = (i) => (i * 120) / Math.max(values.length - 1, 1);
  const y = (v) => 26 - (24 * v) / top;
  return s('svg', { class: 'spark', viewBox: '0 0 120 28', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    s('path', { class: `area ${kind}`, d: path(values, x, y, 28) }), s('path', { class: `line ${kind}`, d: path(values, x, y) }));
}

const last = (values) => values.findLast((v) => v !== null && v !== undefined) ?? null;

// path joins what was measured. A gap of one or two steps is a slow report, and no gap.
function path(values, x, y, floor) {
  let out = '';
  let from = -9;
  let first = -1;
  const close = () => (floor !== undefined && first >= 0 ? `L${x(from).toFixed(1)} ${floor}Z` : '');
  values.forEach((v, i) => {
    if (v === null || v === undefined) return;
    const at = `${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
    if (i - from > 3) {
      out += close();
      out += floor === undefined ? `M${at}h.1` : // a lone point is a dot
         `M${x(i).toFixed(1)} ${floor}L${at}`;
      first = i;
    } else {
      out += `L${at}`;
    }
    from = i;
  });
  return out + close();
}

function nice(v) {
  const power = 10 ** Math.floor(Math.log10(v));
  for (const m of [1, 1.5, 2, 3, 4, 5, 6, 8, 10]) if (v <= m * power * 1.0001) return m * power;
  return v;
}

function ticks(course, n) {
  const begin = Date.parse(course.begin) / 1000;
  const length = n * course.stepSeconds;
  const every = [10, 30, 60, 120, 300, 600, 900, 1800].find((t) => length / t <= (narrow() ? 4 : 6)) ?? 3600;
  const out = [];
  for (let t = Math.ceil(begin / every) * every; t < begin + length; t += every) {
    const i = (t - begin) / course.stepSeconds - 0.5;
    if (i < n * 0.03 || i > n * 0.96) continue;
    out.push([i, new Date(t * 1000).toLocaleTimeString('en-GB', every < 60 ? {} : { hour: '2-digit', minute: '2-digit' })]);
  }
  return out;
}

/** point shows the values under a pointer at one chart in all of them. */
export function point(event) {
  const over = event.target.closest?.('[data-chart]');
  for (const figure of document.querySelectorAll('[data-chart]')) {
    const cross = figure.querySelector('.cross');
    const one = known.get(figure.dataset.chart);
    if (!cross || !one) continue;
    if (!over) {
      cross.replaceChildren();
      continue;
    }
    const box = over.querySelector('svg').getBoundingClientRect();
    const source = known.get(over.dataset.chart);
    const n = source.lines[0].values.length;
    const at = ((event.clientX - box.left) / box.width) * source.w;
    const i = Math.round(((at - source.pad.left) / (source.w - source.pad.left - source.pad.right)) * n - 0.5);
    if (i < 0 || i >= one.lines[0].values.length) {
      cross.replaceChildren();
      continue;
    }
    cross.replaceChildren(...mark(one, i));
  }
}

function mark(one, i) {
  const at = one.x(i);
  const when = new Date(Date.parse(one.course.begin) + (i + 1) * one.course.stepSeconds * 1000);
  const rows = one.lines.map((l) => `${l.name} ${one.format(l.values[i])}`);
  const texts = [f.clock(when), ...rows];
  const width = Math.max(...texts.map((t) => t.length)) * 6.3 + 14;
  const left = at + width + 12 > one.w ? at - width - 8 : at + 8;
  return [
    s('line', { x1: at, x2: at, y1: one.pad.top, y2: one.ht - one.pad.bottom }),
    ...one.lines.filter((l) => l.values[i] !== null).map((l) =>
      s('circle', { class: l.kind, cx: at, cy: one.y(l.values[i]), r: 3 })),
    s('rect', { x: left, y: one.pad.top, width, height: texts.length * 15 + 8, rx: 5 }),
    ...texts.map((t, n) => s('text', { x: left + 7, y: one.pad.top + 15 + n * 15 }, t)),
  ];
}
