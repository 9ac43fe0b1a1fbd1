// The versions behind a service, side by side, with their differences.

import { h } from '../dom.js';
import * as d from '../difference.js';
import * as f from '../format.js';
import * as p from '../parts.js';

export const title = () => 'Canary';

export const questions = (s) => [
  { name: 'backends', path: 'backends', params: { ...s.time(),
    ...(s.path[2] ? { resource: `service/${s.path[2]}`, namespace: s.path[1] } : {}) }, every: 1 },
];

export const command = (s) => `meshctl viz routes${s.path[2] ? ` svc/${s.path[2]} -n ${s.path[1]}` : ' -A'} -o wide${s.flags()}`;

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

const measures = [d.success, d.actual, d.p50, d.p95, d.p99, d.timeouts];

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
          others.map((r) => [h('td', { class: 'number' }, m.show(m.of(r))), h('td', { class: 'number' }, d.verdict(m, base, r))])))))),
    others.some((r) => !d.judged(base, r)) ? h('p', { class: 'note' }, `A version with fewer than ${d.enough} requests in the window is not judged.`) : null);
}
