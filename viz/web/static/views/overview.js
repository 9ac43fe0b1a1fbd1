// What matters first: the worst, and what is not protected.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { spark } from '../chart.js';
import { golden, table } from '../table.js';
import * as changes from './changes.js';
import { calls } from './graph.js';
import * as objectives from './objectives.js';

export const title = () => 'Overview';
export const filtered = true;
export const compared = true;

export const questions = (s) => [
  s.live({ name: 'graph', path: 'graph', params: { ...everything, ...s.time(), filter: s.q.get('filter') } }),
  // A filter is for what is now: what did badly then and does well now is a change, too.
  ...changes.earlier(s, [{ name: 'graph', path: 'graph', params: everything }]),
  objectives.question(),
];

const everything = { open: '*', most: 2000 };

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
    attention(s, g, answers.slo?.data),
    changes.panel(s, answers.graphBefore, pairs(s, g, answers)),
    p.panel('Workloads, the worst first', workloads(s, g.nodes, 'worst', answers.slo?.data)),
    answers.slo?.data?.rows.length ? p.panel('Objectives', objectives.cards(s, answers.slo.data.rows)) : null,
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

function pairs(s, g, answers) {
  const inside = (nodes) => (nodes ?? []).filter((n) => n.kind !== 'outside');
  const shown = new Set(g.nodes.map((n) => n.id));
  const then = inside(answers.graphBefore?.data?.nodes).filter((n) => !s.q.get('filter') || shown.has(n.id));
  return changes.rows(inside(g.nodes), then, { key: (n) => n.id, what: (n) => named(s, n, answers.slo?.data) });
}

const named = (s, n, slo) => [p.name(n, s.search()), objectives.badge(s, slo, n.kind === 'service' ? n.id : n.service)];

function attention(s, g, slo) {
  const soon = (n) => n.certificateExpiry && Date.parse(n.certificateExpiry) - Date.now() < 10 * 60e3;
  const items = [
    ...(slo?.rows ?? []).filter((r) => r.alert).map((r) => [`o${r.namespace}/${r.name}`, objectives.standing(r),
      { kind: 'service', namespace: r.namespace, name: r.service },
      `objective ${r.name}: its error budget burns too fast, for ${r.alert.long} by now`]),
    ...g.nodes.filter(soon).map((n) => [`c${n.id}`, 'bad', n, `its certificate ends in ${f.span((Date.parse(n.certificateExpiry) - Date.now()) / 1000)}`]),
    ...g.edges.filter((e) => e.ejected).map((e) => [`e${e.from}${e.to}`, 'bad', p.nodeOf(e.to),
      `${e.ejected} of ${e.endpoints} endpoints are ejected by ${p.nodeOf(e.from).name}`]),
    ...g.edges.filter((e) => e.timeouts).map((e) => [`t${e.from}${e.to}`, 'warn', p.nodeOf(e.to),
      `${p.several(e.timeouts, 'call')} from ${p.nodeOf(e.from).name} timed out`]),
    ...g.edges.filter((e) => e.limited).map((e) => [`l${e.from}${e.to}`, 'warn', p.nodeOf(e.to),
      `${p.several(e.limited, 'call')} from ${p.nodeOf(e.from).name} refused by a limit`]),
    ...g.edges.filter((e) => e.faulted).map((e) => [`f${e.from}${e.to}`, 'idle', p.nodeOf(e.to),
      `${p.several(e.faulted, 'call')} from ${p.nodeOf(e.from).name} had a fault on purpose`]),
  ];
  if (!items.length) return null;
  return p.panel('Needs a look', h('ul', { class: 'attention' }, items.slice(0, 8).map(([key, kind, node, text]) =>
    h('li', { 'data-key': key, class: kind }, h('span', { class: 'mark', 'aria-hidden': 'true' }, kind === 'idle' ? '◆' : f.marks[kind]),
      p.name(node, s.search(), false), h('span', null, text)))));
}

/** workloads is a table of nodes. */
export function workloads(s, nodes, id, slo) {
  const worth = (n) => (n.successRate === undefined ? -1 : (1 - n.successRate) * 1e6 + Math.min(n.rps, 1e5) / 1e5);
  const rows = nodes.filter((n) => n.kind !== 'outside').sort((a, b) => worth(b) - worth(a));
  return table({ id, label: 'Workloads', rows, key: (n) => n.id, sort: s.q.get('sort'),
    columns: [
      { id: 'name', title: 'Name', value: (n) => n.name, cell: (n) => named(s, n, slo) },
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
