// Who proved what to whom, and how long certificates last.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { table } from '../table.js';

export const title = () => 'Identities';

export const questions = (s) => [
  { name: 'edges', path: 'edges', params: s.time(), every: 2 },
  { name: 'pods', path: 'stat', params: { resource: 'pod', ...s.time() }, every: 5 },
  { name: 'proxies', path: 'proxies', every: 5 },
];

export const command = (s) => `meshctl viz edges -A${s.flags()}`;

const left = (r) => (r.certificateExpiry ? (Date.parse(r.certificateExpiry) - Date.now()) / 1000 : null);

export function view(s, answers) {
  const edges = answers.edges?.data?.rows;
  if (!edges) return h('div', { class: 'view' }, p.waiting(answers.edges, 'identities'));
  const pods = (answers.pods?.data?.rows ?? []).filter((r) => r.proxies > 0);
  const known = new Map((answers.proxies?.data?.rows ?? []).map((r) => [`${r.namespace}/${r.pod}`, r]));
  return h('div', { class: 'view', 'data-key': 'identities' }, h('h1', null, 'Identities'),
    p.panel('Certificates', h('p', { class: 'note' }, 'One mark for each proxy: how long its certificate lasts. Proxies renew theirs well before its end.'),
      h('ul', { class: 'strip', 'aria-label': 'Certificates' }, [...pods].sort((a, b) => (left(a) ?? 0) - (left(b) ?? 0)).map((r) => {
        const t = left(r);
        const kind = t === null ? 'idle' : t < 600 ? 'bad' : t < 3600 ? 'warn' : 'good';
        return h('li', { class: kind, 'data-key': `${r.namespace}/${r.name}`, title: `${r.name} in ${r.namespace}: ${t === null ? 'not known' : `ends in ${f.span(t)}`}` },
          h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[kind]), h('span', { class: 'what' }, r.name), h('span', { class: 'ns' }, f.span(t)));
      }))),
    known.size ? p.panel('Proxies', proxies(s, [...known.values()])) : null,
    p.panel('Connections', table({ id: 'edges', label: 'Connections', rows: edges, key: (e) => [e.srcNamespace, e.src, e.dstNamespace, e.dst, e.security, e.clientId, e.serverId].join('|'),
      sort: s.q.get('sort'), fallback: 'mtls', columns: [
        { id: 'from', title: 'From', value: (e) => e.src, cell: (e) => p.name({ kind: e.srcKind, namespace: e.srcNamespace, name: e.src }, s.search()) },
        { id: 'to', title: 'To', value: (e) => e.dst, cell: (e) => p.name({ kind: e.dstKind, namespace: e.dstNamespace, name: e.dst }, s.search()) },
        { id: 'mtls', title: 'Protection', value: (e) => (e.encrypted ? 1 : 0), cell: (e) => p.lock(e) },
        { id: 'client', title: 'Client proved', value: (e) => e.clientId, cell: (e) => h('span', { class: 'id' }, e.clientId || f.none) },
        { id: 'server', title: 'Server proved', value: (e) => e.serverId, cell: (e) => h('span', { class: 'id' }, e.serverId || e.reason || f.none) },
        { id: 'seen', title: 'Seen by', value: (e) => e.reportedBy },
      ] })));
}

function proxies(s, rows) {
  return table({ id: 'proxies', label: 'Proxies', rows, key: (r) => `${r.namespace}/${r.pod}`, sort: s.q.get('sort'), fallback: 'pod', columns: [
    { id: 'pod', title: 'Pod', value: (r) => r.pod, cell: (r) => [r.pod, h('span', { class: 'ns' }, r.namespace)] },
    { id: 'version', title: 'Version', value: (r) => r.version },
    { id: 'revision', title: 'Configuration', value: (r) => r.configRevision, cell: (r) => h('span', { class: 'id' }, r.configRevision || f.none) },
    { id: 'age', title: 'Its age', number: true, value: (r) => r.configAgeSeconds, cell: (r) => h('span', { class: r.configStale ? 'warn' : null }, f.span(r.configAgeSeconds)) },
    { id: 'identity', title: 'Identity', value: (r) => r.identity, cell: (r) => h('span', { class: 'id' }, r.identity) },
  ] });
}
