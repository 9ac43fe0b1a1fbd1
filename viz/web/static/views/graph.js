// The whole mesh, or a part of it, as a graph, with a table of the same calls.

import { h, s as svg } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { draw, legend } from '../graph.js';
import { golden, table } from '../table.js';

export const title = () => 'Graph';
export const filtered = true;

export const questions = (s) => [
  s.live({ name: 'graph', path: 'graph', params: { ...s.time(), group: s.q.get('group'),
    open: s.q.get('open'), filter: s.q.get('filter') } }),
];

export function command(s) {
  return `meshctl viz edges -A${s.flags()}`;
}

export function view(s, answers) {
  const wait = p.waiting(answers.graph?.data ? answers.graph : answers.graph, 'the graph');
  const g = answers.graph?.data;
  if (!g) return h('div', { class: 'view' }, wait);
  const selected = s.q.get('sel');
  return h('div', { class: 'view', 'data-key': 'graph' },
    h('section', { class: 'panel graph-panel', id: 'graph-panel', 'data-key': 'picture' },
      tools(s, g),
      g.nodes.length === 0 ? nothing(s, g) : h('div', { class: `stage${selected ? ' beside' : ''}`, 'data-key': 'stage' },
        h('div', { class: 'canvas', 'data-key': 'canvas' }, draw(g, selected)),
        selected ? aside(s, g, selected) : null),
      legend()),
    p.panel('The same as a table', calls(s, g, 'calls')));
}

function nothing(s, g) {
  if (s.q.get('filter')) return p.empty('No call matches the filter.', ['Clear it, or look at a longer window.']);
  if (g.proxies === 0) {
    return p.empty('No proxy reports yet.', ['Add one to a workload: ', p.code('meshctl inject deployment.yaml | kubectl apply -f -')]);
  }
  return p.empty('Nothing was called in this window.');
}

function tools(s, g) {
  const group = s.q.get('group') || 'workload';
  const open = g.namespaces.filter((n) => n.open).length;
  const hidden = g.hiddenNodes + g.hiddenEdges > 0
    ? h('span', { class: 'note', 'data-key': 'hidden' }, `the busiest of ${f.count(g.nodes.length + g.hiddenNodes)} nodes and ${f.count(g.edges.length + g.hiddenEdges)} calls`) : null;
  return h('div', { class: 'tools', 'data-key': 'tools' },
    h('div', { class: 'segments', role: 'group', 'aria-label': 'Show as' },
      ['workload', 'service', 'namespace'].map((g2) => h('button', { type: 'button', 'data-key': g2, 'data-do': 'set',
        'data-arg': `group=${g2 === 'workload' ? '' : g2}`, 'aria-pressed': String(group === g2) }, `${g2[0].toUpperCase()}${g2.slice(1)}s`))),
    g.namespaces.length > 1 && group !== 'namespace'
      ? h('details', { class: 'menu', 'data-key': 'namespaces' }, h('summary', null, `${open} of ${g.namespaces.length} namespaces open`),
        h('div', { class: 'list' },
          h('button', { type: 'button', 'data-do': 'set', 'data-arg': 'open=-' }, 'Fold all'),
          h('button', { type: 'button', 'data-do': 'set', 'data-arg': 'open=' }, 'As fits'),
          g.namespaces.map((n) => h('button', { type: 'button', 'data-key': n.name, 'data-do': n.open ? 'fold' : 'unfold', 'data-arg': n.name,
            'aria-pressed': String(n.open) }, h('span', { class: 'tick', 'aria-hidden': 'true' }, n.open ? '✓' : ''), n.name,
          h('span', { class: 'ns' }, f.count(n.workloads)))))) : null,
    hidden, g.nodes.length ? zoomer() : null);
}

const zoomer = () => h('div', { class: 'zoomer', 'data-key': 'zoomer', role: 'group', 'aria-label': 'Size' },
  [['+', '1.3', 'Larger'], ['−', '0.77', 'Smaller'], ['⤢', '0', 'Show all']].map(([text, by, label]) =>
    h('button', { type: 'button', 'data-key': by, 'data-do': 'zoom', 'data-arg': by, 'aria-label': label, title: label }, text)),
  h('button', { type: 'button', 'data-key': 'picture', 'data-do': 'picture', 'aria-label': 'Save as SVG', title: 'Save as SVG (e)' }, '⤓'),
  h('button', { type: 'button', 'data-key': 'full', 'data-do': 'full', 'data-arg': 'graph-panel', 'aria-label': 'Full screen', title: 'Full screen' },
    svg('svg', { class: 'glyph', viewBox: '0 0 14 14', 'aria-hidden': 'true' }, svg('path', { d: 'M1 5V1h4M9 1h4v4M13 9v4H9M5 13H1V9' }))));

/** opened are the namespaces that are open now, as the address has them, with one more or less. */
export function opened(g, namespace, open) {
  const names = new Set(g.namespaces.filter((n) => n.open).map((n) => n.name));
  if (open) names.add(namespace);
  else names.delete(namespace);
  return [...names].join(',') || '-';
}

function aside(s, g, id) {
  const node = g.nodes.find((n) => n.id === id);
  const edge = g.edges.find((e) => `${e.from}>${e.to}` === id);
  const close = h('button', { class: 'close', type: 'button', 'data-do': 'select', 'data-arg': '', 'aria-label': 'Close' }, '×');
  if (!node && !edge) return h('aside', { class: 'beside', 'data-key': 'aside' }, close, p.empty('It is not in this window.'));
  return h('aside', { class: 'beside', 'data-key': 'aside', 'aria-label': 'Details' }, close, node ? ofNode(s, g, node) : ofEdge(s, edge));
}

const facts = (rows) => h('dl', { class: 'facts' }, rows.filter(([, v]) => v !== null && v !== undefined && v !== false)
  .map(([k, v]) => [h('dt', { 'data-key': `k${k}` }, k), h('dd', { 'data-key': `v${k}` }, v)]));

const figures = (v) => [
  ['Success', p.success(v.successRate)],
  ['Requests', `${f.rate(v.rps)} /s`],
  ['Latency', `${f.ms(v.p50Ms)} · ${f.ms(v.p95Ms)} · ${f.ms(v.p99Ms)}`],
  ['Really sent', v.retries > 0 ? `${f.percent(v.actualSuccessRate)} succeed` : null],
  ['Bytes', v.bytesPerSecond > 0 ? `${f.bytes(v.bytesPerSecond)}/s` : null],
  ['Connections', v.connections > 0 ? f.count(v.connections) : null],
  ['Troubles', p.troubles(v).length ? h('span', { class: 'chips' }, p.troubles(v)) : null],
];

function ofNode(s, g, n) {
  const href = p.place(n);
  const near = (edges, end) => edges.map((e) => {
    const other = p.nodeOf(e[end]);
    return h('li', { 'data-key': other.id }, h('button', { type: 'button', 'data-do': 'select', 'data-arg': other.id }, other.name),
      h('span', { class: 'right' }, `${f.rate(e.rps)}/s `, p.success(e.successRate)));
  });
  const callers = g.edges.filter((e) => e.to === n.id);
  const callees = g.edges.filter((e) => e.from === n.id);
  return h('div', { class: 'detail', 'data-key': n.id },
    h('p', { class: 'kind' }, n.kind, n.namespace && n.kind !== 'namespace' ? ` in ${n.namespace}` : ''),
    h('h2', null, n.name),
    facts([...figures(n),
      ['Proxies', n.proxies || null],
      ['Certificate', n.certificateExpiry ? `ends in ${f.span((Date.parse(n.certificateExpiry) - Date.now()) / 1000)}` : null],
      ['Workloads', n.workloads?.length ? n.workloads.slice(0, 12).join(', ') : null]]),
    href ? h('p', null, n.kind === 'namespace'
      ? h('button', { class: 'main', type: 'button', 'data-do': 'unfold', 'data-arg': n.name }, 'Show its workloads')
      : h('a', { class: 'button main', href: s.link(href) }, 'Open its page')) : null,
    callers.length ? [h('h3', null, 'Callers'), h('ul', { class: 'near' }, near(callers, 'from'))] : null,
    callees.length ? [h('h3', null, 'Calls'), h('ul', { class: 'near' }, near(callees, 'to'))] : null);
}

function ofEdge(s, e) {
  return h('div', { class: 'detail', 'data-key': 'edge' },
    h('p', { class: 'kind' }, 'call'),
    h('h2', null, p.nodeOf(e.from).name, ' → ', p.nodeOf(e.to).name),
    facts([...figures(e),
      ['Protection', p.lock(e)],
      ['Why', e.reason || null],
      ['Client', e.clientId ? h('span', { class: 'id' }, e.clientId) : null],
      ['Server', e.serverId ? h('span', { class: 'id' }, e.serverId) : null],
      ['Routes', e.routes.join(', ')]]));
}

/** calls is a table of edges. */
export function calls(s, g, id, edges = g.edges, { most = 100, without = [] } = {}) {
  const end = (side) => (e) => p.nodeOf(e[side]);
  return table({ id, label: 'Calls', rows: edges, key: (e) => `${e.from}>${e.to}`, sort: s.q.get('sort'), fallback: '-rps', most,
    columns: [
      { id: 'from', title: 'From', value: (e) => end('from')(e).name, cell: (e) => p.name(end('from')(e), s.search()) },
      { id: 'to', title: 'To', value: (e) => end('to')(e).name, cell: (e) => p.name(end('to')(e), s.search()) },
      ...golden(p),
      { id: 'mtls', title: 'Protection', value: (e) => e.security, cell: (e) => p.lock(e) },
      { id: 'troubles', title: 'Troubles', value: (e) => (e.timeouts ?? 0) + (e.limited ?? 0) + (e.faulted ?? 0) + (e.ejected ?? 0),
        cell: (e) => h('span', { class: 'chips' }, p.troubles(e)) },
    ].filter((c) => !without.includes(c.id)) });
}
