// What faults, rate limits, ejections, timeouts and retry budgets do.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { table } from '../table.js';

export const title = () => 'Policies';

export const questions = (s) => [
  { name: 'routes', path: 'routes', params: s.time(), every: 2 },
  s.live({ name: 'graph', path: 'graph', params: { ...s.time(), group: 'service', open: '*', most: 2000, filter: s.q.get('filter') } }),
];

export const command = (s) => `meshctl viz routes -A -o wide${s.flags()}`;

export function view(s, answers) {
  const rows = answers.routes?.data?.rows;
  if (!rows) return h('div', { class: 'view' }, p.waiting(answers.routes, 'policies'));
  const g = answers.graph?.data;
  const sum = (field) => rows.reduce((n, r) => n + r[field], 0);
  const hit = rows.filter((r) => r.faulted || r.limited || r.ejected || r.timeouts || r.retriesRefused || r.retries);
  const loose = rows.filter((r) => r.route === '[default]' && r.windowRequests > 0);
  return h('div', { class: 'view', 'data-key': 'limits' }, h('h1', null, 'Policies and their hits'),
    h('div', { class: 'tiles', 'data-key': 'tiles' },
      p.tile('Retried', f.count(sum('windowRetries')), 'requests sent again'),
      p.tile('Limited', f.count(sum('windowLimited')), 'refused by a limit'),
      p.tile('Faults', f.count(sum('windowFaulted')), 'delayed or failed on purpose'),
      p.tile('Timeouts', f.count(sum('windowTimeouts')), 'ended at their timeout'),
      g ? p.tile('Ejected', f.count(g.edges.reduce((n, e) => Math.max(n, e.ejected ?? 0), 0)), 'endpoints kept from requests now') : null),
    p.panel('Routes that something acts on', hit.length ? table({ id: 'hits', label: 'Routes that something acts on', rows: hit,
      key: (r) => `${r.namespace}/${r.service}/${r.route}`, sort: s.q.get('sort'), fallback: '-rps', columns: [
        { id: 'service', title: 'Service', value: (r) => r.service, cell: (r) => p.name({ kind: r.namespace ? 'service' : 'address', namespace: r.namespace, name: r.service }, s.search()) },
        { id: 'route', title: 'Route', value: (r) => r.route, cell: (r) => h('span', { class: 'route' }, r.route) },
        { id: 'rps', title: 'Req/s', number: true, value: (r) => r.rps, cell: (r) => f.rate(r.rps) },
        { id: 'ok', title: 'Success', number: true, value: (r) => r.successRate, cell: (r) => p.success(r.successRate) },
        number('windowRetries', 'Retried'), number('retriesRefused', 'Beyond budget'), number('windowTimeouts', 'Timeouts'), number('windowLimited', 'Limited'),
        number('windowFaulted', 'Faults'),
        { id: 'ejected', title: 'Ejected', number: true, value: (r) => r.ejected, cell: (r) => (r.endpoints ? h('span', { class: r.ejected ? 'bad' : 'idle' }, `${r.ejected}/${r.endpoints}`) : '') },
      ] }) : p.empty('No policy had anything to do in this window.')),
    loose.length ? p.panel('Requests that no route matched', h('p', { class: 'note' }, 'They are treated by the service’s defaults.'),
      table({ id: 'loose', label: 'Requests that no route matched', rows: loose, key: (r) => `${r.namespace}/${r.service}`, fallback: '-rps', sortable: false, columns: [
        { id: 'service', title: 'Service', value: (r) => r.service, cell: (r) => p.name({ kind: r.namespace ? 'service' : 'address', namespace: r.namespace, name: r.service }, s.search()) },
        { id: 'rps', title: 'Req/s', number: true, value: (r) => r.rps, cell: (r) => f.rate(r.rps) },
        { id: 'ok', title: 'Success', number: true, value: (r) => r.successRate, cell: (r) => p.success(r.successRate) },
      ] })) : null);
}

const number = (field, title) => ({ id: field, title, number: true, value: (r) => r[field],
  cell: (r) => h('span', { class: r[field] ? null : 'idle' }, r[field] ? f.count(r[field]) : '0') });
