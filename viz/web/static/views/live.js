// Single requests as they end, where this viz tells of them.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';

export const title = () => 'Live requests';

const most = 150;

export const questions = (s) => [
  { name: 'tap', path: 'tap', params: { failed: s.q.get('failed'), retried: s.q.get('retried'), path: s.q.get('path'), maxRps: 20 }, events: true, keep: most },
];

export function command(s) {
  return `meshctl viz tap -A${s.q.get('failed') ? ' --failed' : ''}${s.q.get('retried') ? ' --retries' : ''}${s.q.get('path') ? ` --path ${s.q.get('path')}` : ''}`;
}

export function view(s, answers) {
  const a = answers.tap;
  const all = a?.list ?? [];
  const records = all.filter((r) => r.time).reverse();
  const counts = all.findLast((r) => r['tulle.tap.matched'] !== undefined);
  return h('div', { class: 'view', 'data-key': 'live' }, h('h1', null, 'Live requests'),
    h('section', { class: 'panel', 'data-key': 'live' },
      h('div', { class: 'tools' },
        h('div', { class: 'segments', role: 'group', 'aria-label': 'Only' },
          [['', 'All'], ['failed', 'Failed'], ['retried', 'Retried']].map(([field, text]) => {
            const on = field ? s.q.get(field) === '1' : !s.q.get('failed') && !s.q.get('retried');
            return h('button', { type: 'button', 'data-key': text, 'data-do': 'only', 'data-arg': field, 'aria-pressed': String(on) }, text);
          })),
        h('input', { type: 'search', class: 'path', placeholder: 'path begins with /…', 'aria-label': 'Path begins with', 'data-param': 'path', value: s.q.get('path') ?? '' }),
        counts ? h('span', { class: 'note', 'data-key': 'counts' }, `${f.count(counts['tulle.tap.shown'])} of ${f.count(counts['tulle.tap.matched'])} that ${f.count(counts['tulle.tap.proxies'])} proxies saw`) : null),
      a?.missing || a?.error ? p.waiting(a, 'single requests')
        : records.length === 0 ? p.empty('Waiting for requests …', 'Those that end from now on appear here.') : rows(s, records)));
}

function rows(s, records) {
  return h('div', { class: 'table' }, h('table', { 'aria-label': 'Requests' },
    h('thead', null, h('tr', null, ['Time', 'From', 'To', 'Request', 'Status', 'Took', 'Tries', 'Reason', ''].map((t) =>
      h('th', { scope: 'col', class: t === 'Took' || t === 'Tries' ? 'number' : null }, t)))),
    h('tbody', null, records.map((r) => {
      const failed = (r['tulle.flags'] ?? []).includes('failed');
      const status = r['http.response.status_code'];
      return h('tr', { 'data-key': r.key, class: failed ? 'failed' : null },
        h('td', { class: 'time' }, new Date(r.time).toISOString().slice(11, 23)),
        h('td', null, workload(s, r, 'client')), h('td', null, workload(s, r, 'server')),
        h('td', { class: 'request' }, h('b', null, r['http.request.method'] ?? (r['network.transport'] ?? '')), ' ', r['url.path'] ?? r['tulle.destination'] ?? ''),
        h('td', null, h('span', { class: `status ${failed ? 'bad' : status >= 400 ? 'warn' : 'good'}` }, failed ? '✕ ' : '', status ?? '', r['rpc.response.status_code'] ? ` ${r['rpc.response.status_code']}` : '')),
        h('td', { class: 'number' }, f.ms(r['tulle.duration'] * 1000)),
        h('td', { class: 'number' }, r['tulle.tries'] ?? ''),
        h('td', null, r['tulle.reason'] ? h('span', { class: 'chip warn', title: r['tulle.error'] }, r['tulle.reason']) : ''),
        h('td', null, r.trace_id ? h('a', { href: `/traces/${r.trace_id}` }, 'trace') : ''));
    }))));
}

function workload(s, r, side) {
  const text = r[`tulle.${side}.workload`];
  const namespace = r[`tulle.${side}.namespace`] ?? r['tulle.namespace'] ?? '';
  if (!text) return side === 'client' ? r['client.address'] ?? f.none : r['tulle.service'] ?? r['server.address'] ?? f.none;
  const [kind, name] = text.includes('/') ? text.split('/') : ['deployment', text];
  return p.name({ kind, namespace, name }, s.search(), false);
}
