// What matters first: the worst, and what is not protected.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { spark } from '../chart.js';
import { golden, table } from '../table.js';
import { calls } from './graph.js';

export const title = () => 'Overview';
export const filtered = true;

export const questions = (s) => [
  s.live({ name: 'graph', path: 'graph', params: { ...s.time(), filter: s.q.get('filter'), open: '*', most: 2000 } }),
  { name: 'slo', path: 'slo', every: 10 },
];

export const command = (s) => `meshctl viz stat deploy -A${s.flags()}`;

export function view(s, answers) {
  const g = answers.graph?.data;
  if (!g) return h('div', { class: 'view' }, p.waiting(answers.graph, 'figures'));
  if (g.proxies === 0 && g.edges.length === 0) {
    return h('div', { class: 'view' }, p.empty('No proxy reports yet.',
      ['Label a namespace tulle.dev/inject=enabled, or ', p.code('meshctl inject deployment.yaml | kubectl apply -f -')]));
  }
  const open = g.edges.filter((e) => !e.encrypted && e.security !== 'none');
  return h('div', { class: 'view', 'data-key': 'overview' },
    tiles(g, open, answers.hour?.data),
    objectives(answers.slo?.data),
    attention(s, g),
    p.panel('Workloads, the worst first', workloads(s, g.nodes, 'worst')),
    open.length ? p.panel('Not encrypted', h('p', { class: 'note' },
      'Requests that came or went without the mesh’s mutual TLS, and why.'), unprotected(s, open)) : null,
    p.panel('Who calls whom', calls(s, g, 'calls', g.edges, { most: 12 })));
}

function tiles(g, open, hour) {
  const t = g.total;
  const all = g.edges.reduce((sum, e) => sum + (e.security === 'none' ? 0 : e.rps), 0);
  const plain = open.reduce((sum, e) => sum + e.rps, 0);
  const locked = all > 0 ? 1 - plain / all : null;
  const recent = (values) => values?.slice(-40);
  return h('div', { class: 'tiles', 'data-key': 'tiles' },
    p.tile('Requests', [f.rate(t.rps), h('small', null, '/s')], hour ? spark(recent(hour.rps)) : null),
    p.tile('Success', f.percent(t.successRate), t.windowFailures ? `${f.count(t.windowFailures)} of ${f.count(t.windowRequests)} failed` : 'none failed', f.health(t.successRate)),
    p.tile('Latency, p95', f.ms(t.p95Ms), `p50 ${f.ms(t.p50Ms)} · p99 ${f.ms(t.p99Ms)}`),
    p.tile('Encrypted', f.percent(locked), open.length ? `${f.count(open.length)} ${open.length === 1 ? 'call is' : 'calls are'} not` : 'all of it', open.length ? 'warn' : 'good'),
    p.tile('Retried', f.percent(t.retryRate ?? 0), `${f.percent(t.actualSuccessRate)} of tries succeed`),
    p.tile('Proxies', f.count(g.proxies), `${f.count(g.namespaces.reduce((n, x) => n + x.workloads, 0))} workloads`));
}

// A viz may tell of objectives, or not.
function objectives(slo) {
  const rows = slo?.rows ?? slo?.objectives ?? [];
  if (!rows.length) return null;
  const left = (r) => r.budgetLeft ?? r.budgetRemaining ?? null;
  const alert = (r) => r.alert || r.severity || (r.alerts?.length ? r.alerts.join(', ') : '');
  return p.panel('Objectives', h('ul', { class: 'cards' }, rows.map((r) => {
    const kind = alert(r) ? 'bad' : left(r) !== null && left(r) < 0.25 ? 'warn' : 'good';
    return h('li', { class: `card ${kind}`, 'data-key': `${r.namespace}/${r.name}` },
      h('span', { class: `state ${kind}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[kind]), r.name),
      h('span', { class: 'ns' }, r.namespace ?? ''),
      left(r) !== null ? h('span', null, `${f.percent(left(r))} of the budget left`) : null,
      alert(r) ? h('span', { class: 'chip bad' }, alert(r)) : null);
  })));
}

function attention(s, g) {
  const soon = (n) => n.certificateExpiry && Date.parse(n.certificateExpiry) - Date.now() < 10 * 60e3;
  const items = [
    ...g.nodes.filter(soon).map((n) => [`c${n.id}`, 'bad', n, `its certificate ends in ${f.span((Date.parse(n.certificateExpiry) - Date.now()) / 1000)}`]),
    ...g.edges.filter((e) => e.ejected).map((e) => [`e${e.from}${e.to}`, 'bad', p.nodeOf(e.to),
      `${e.ejected} of ${e.endpoints} endpoints are ejected by ${p.nodeOf(e.from).name}`]),
    ...g.edges.filter((e) => e.timeouts).map((e) => [`t${e.from}${e.to}`, 'warn', p.nodeOf(e.to),
      `${f.count(e.timeouts)} calls from ${p.nodeOf(e.from).name} timed out`]),
    ...g.edges.filter((e) => e.limited).map((e) => [`l${e.from}${e.to}`, 'warn', p.nodeOf(e.to),
      `${f.count(e.limited)} calls from ${p.nodeOf(e.from).name} were refused by a limit`]),
    ...g.edges.filter((e) => e.faulted).map((e) => [`f${e.from}${e.to}`, 'idle', p.nodeOf(e.to),
      `${f.count(e.faulted)} calls from ${p.nodeOf(e.from).name} had a fault on purpose`]),
  ];
  if (!items.length) return null;
  return p.panel('Needs a look', h('ul', { class: 'attention' }, items.slice(0, 8).map(([key, kind, node, text]) =>
    h('li', { 'data-key': key, class: kind }, h('span', { class: 'mark', 'aria-hidden': 'true' }, kind === 'idle' ? '◆' : f.marks[kind]),
      p.name(node, s.search(), false), h('span', null, text)))));
}

/** workloads is a table of nodes. */
export function workloads(s, nodes, id) {
  const worth = (n) => (n.successRate === undefined ? -1 : (1 - n.successRate) * 1e6 + Math.min(n.rps, 1e5) / 1e5);
  const rows = nodes.filter((n) => n.kind !== 'outside').sort((a, b) => worth(b) - worth(a));
  return table({ id, label: 'Workloads', rows, key: (n) => n.id, sort: s.q.get('sort'),
    columns: [
      { id: 'name', title: 'Name', value: (n) => n.name, cell: (n) => p.name(n, s.search()) },
      ...golden(p),
      { id: 'proxies', title: 'Proxies', number: true, value: (n) => n.proxies, cell: (n) => n.proxies || (n.kind === 'service' ? '' : 'none') },
      { id: 'troubles', title: 'Troubles', value: (n) => (n.timeouts ?? 0) + (n.limited ?? 0) + (n.ejected ?? 0), cell: (n) => h('span', { class: 'chips' }, p.troubles(n)) },
    ] });
}

/** unprotected is a table of edges. */
export function unprotected(s, edges) {
  return table({ id: 'plain', label: 'Calls that are not encrypted', rows: edges, key: (e) => `${e.from}>${e.to}`, fallback: '-rps', sortable: false,
    columns: [
      { id: 'from', title: 'From', value: (e) => e.from, cell: (e) => p.name(p.nodeOf(e.from), s.search()) },
      { id: 'to', title: 'To', value: (e) => e.to, cell: (e) => p.name(p.nodeOf(e.to), s.search()) },
      { id: 'rps', title: 'Req/s', number: true, value: (e) => e.rps, cell: (e) => f.rate(e.rps) },
      { id: 'why', title: 'Why', value: (e) => e.reason, cell: (e) => e.reason || e.security },
    ] });
}
