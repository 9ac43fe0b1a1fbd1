// The versions behind a service, side by side, with their differences.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';

export const title = () => 'Canary';

export const questions = (s) => [
  { name: 'backends', path: 'backends', params: { ...s.time(),
    ...(s.path[2] ? { resource: `service/${s.path[2]}`, namespace: s.path[1] } : {}) }, every: 1 },
];

export const command = (s) => `meshctl viz routes${s.path[2] ? ` svc/${s.path[2]} -n ${s.path[1]}` : ' -A'} -o wide${s.flags()}`;

// enough is how many requests a version must have had before it is judged.
const enough = 30;

export function view(s, answers) {
  const rows = answers.backends?.data?.rows;
  if (!rows) return h('div', { class: 'view' }, p.waiting(answers.backends, 'versions'));
  const services = new Map();
  for (const r of rows) {
    const key = `${r.namespace}/${r.service}`;
    services.set(key, [...(services.get(key) ?? []), r]);
  }
  const several = [...services].filter(([, list]) => list.length > 1);
  return h('div', { class: 'view', 'data-key': 'canary' }, h('h1', null, 'Canary'),
    several.length ? several.map(([key, list]) => compare(key, list))
      : p.empty('No service has several versions in this window.',
        ['An HTTPRoute or a ServiceProfile splits traffic between backends; ', p.code('meshctl canary'), ' moves it step by step.']));
}

const measures = [
  { name: 'Success', of: (r) => r.successRate, show: f.percent, better: 1, difference: (a, b) => `${sign((b - a) * 100)}${Math.abs((b - a) * 100).toFixed(2)} points`, slack: 0.005 },
  { name: 'Really succeeded', of: (r) => r.actualSuccessRate, show: f.percent, better: 1, difference: (a, b) => `${sign((b - a) * 100)}${Math.abs((b - a) * 100).toFixed(2)} points`, slack: 0.005 },
  { name: 'p50', of: (r) => r.p50Ms, show: f.ms, better: -1, difference: times, relative: 0.1 },
  { name: 'p95', of: (r) => r.p95Ms, show: f.ms, better: -1, difference: times, relative: 0.1 },
  { name: 'p99', of: (r) => r.p99Ms, show: f.ms, better: -1, difference: times, relative: 0.1 },
  { name: 'Timeouts', of: (r) => (r.windowRequests ? r.windowTimeouts / r.windowRequests : null), show: f.percent, better: -1,
    difference: (a, b) => `${sign((b - a) * 100)}${Math.abs((b - a) * 100).toFixed(2)} points`, slack: 0.002 },
];

const sign = (v) => (v > 0 ? '+' : v < 0 ? '−' : '±');
function times(a, b) {
  return a > 0 ? `${sign(b - a)}${Math.abs((b / a - 1) * 100).toFixed(0)} %` : f.none;
}

function compare(key, list) {
  const [base, ...others] = [...list].sort((a, b) => b.windowRequests - a.windowRequests || a.backend.localeCompare(b.backend));
  const all = list.reduce((n, r) => n + r.windowRequests, 0);
  const name = (r) => r.backend.split('.')[0];
  const share = (r) => f.percent(all ? r.windowRequests / all : null);
  return h('section', { class: 'panel canary', 'data-key': key }, h('h2', null, key.split('/')[1], h('span', { class: 'ns' }, key.split('/')[0])),
    h('div', { class: 'split', role: 'img', 'aria-label': list.map((r) => `${name(r)} ${share(r)}`).join(', ') },
      [base, ...others].map((r, i) => h('span', { class: `part p${Math.min(i, 4)}`, 'data-key': r.backend, 'data-share': all ? (r.windowRequests / all).toFixed(4) : '0' }))),
    h('div', { class: 'table' }, h('table', { 'aria-label': `Versions of ${key}` },
      h('thead', null, h('tr', null, h('th', { scope: 'col' }, ''), h('th', { scope: 'col', class: 'number' }, name(base)),
        others.map((r) => [h('th', { scope: 'col', class: 'number', 'data-key': r.backend }, name(r)), h('th', { scope: 'col', class: 'number', 'data-key': `d${r.backend}` }, 'Difference')]))),
      h('tbody', null,
        h('tr', { 'data-key': 'share' }, h('th', { scope: 'row' }, 'Share'), h('td', { class: 'number' }, share(base)),
          others.map((r) => [h('td', { class: 'number' }, share(r)), h('td', { class: 'number' }, `${f.count(r.windowRequests)} requests`)])),
        measures.map((m) => h('tr', { 'data-key': m.name }, h('th', { scope: 'row' }, m.name), h('td', { class: 'number' }, m.show(m.of(base))),
          others.map((r) => [h('td', { class: 'number' }, m.show(m.of(r))), h('td', { class: 'number' }, verdict(m, base, r))])))))),
    others.some((r) => r.windowRequests < enough) ? h('p', { class: 'note' }, `A version with fewer than ${enough} requests in the window is not judged.`) : null);
}

function verdict(m, base, r) {
  const [a, b] = [m.of(base), m.of(r)];
  if (a === null || b === null) return f.none;
  const text = m.difference(a, b);
  if (r.windowRequests < enough || base.windowRequests < enough) return h('span', { class: 'idle', title: 'too few requests' }, text);
  const off = (b - a) * m.better;
  const slack = m.slack ?? a * m.relative;
  const kind = off < -slack ? 'bad' : off > slack ? 'good' : 'same';
  const mark = { bad: '▼', good: '▲', same: '≈' }[kind];
  return h('span', { class: kind === 'same' ? 'idle' : kind, title: { bad: 'worse', good: 'better', same: 'about the same' }[kind] }, `${mark} ${text}`);
}
