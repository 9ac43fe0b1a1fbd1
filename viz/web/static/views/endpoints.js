// The endpoints of a workload or a service, as each proxy that calls them sees them.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { table } from '../table.js';

/** questions asks the proxies themselves, so only about now, and only while somebody looks. */
export const questions = (s, what) => (s.q.get('ago') ? [] : [{ name: 'endpoints', path: 'endpoints', params: what, every: 3, seen: true }]);

// states are a proxy's words for what it makes of an endpoint, the worst first.
const states = {
  ejected: { kind: 'bad', title: 'kept from requests, for too many failed' },
  unhealthy: { kind: 'bad', title: 'could not be dialed, or has asked for time' },
  probation: { kind: 'warn', title: 'was ejected, and the next request decides' },
  ready: { kind: 'good', title: 'gets requests' },
};
const order = Object.keys(states);
const rank = (r) => (order.indexOf(r.state) + order.length) % order.length;

function state(r) {
  const { kind, title } = states[r.state] ?? { kind: 'idle', title: '' };
  const left = r.until ? (Date.parse(r.until) - Date.now()) / 1000 : 0;
  return h('span', { class: `state ${kind}`, title }, h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[kind]), r.state,
    left > 0 ? [' ', h('span', { class: 'ns' }, `for ${f.span(left)}`)] : null);
}

/** panel is empty unless viz has answered. */
export function panel(s, o, answer) {
  const data = answer?.data;
  if (!data) return null;
  const rows = [...data.rows].sort((a, b) => rank(a) - rank(b) || (b.ewmaMs ?? 0) - (a.ewmaMs ?? 0));
  return p.panel('Endpoints, as each calling proxy sees them', note(rows, data),
    rows.length ? list(s, rows, new Set(rows.map((r) => r.service)).size > 1) : p.empty(`No proxy calls this ${o.kind} now.`));
}

function note(rows, { silent, omittedProxies, omittedEndpoints }) {
  if (!rows.length && !silent.length) return null;
  const count = (of) => new Set(rows.map(of)).size;
  return h('p', { class: 'note' },
    rows.length ? `${p.several(count((r) => r.address), 'endpoint')} that ${p.several(count((r) => r.proxy), 'proxy calls', 'proxies call')}. Latency is a moving average that jumps up and sinks slowly; a proxy prefers the endpoint with less of it, and of requests in flight.` : null,
    silent.length ? h('span', { class: 'warn' }, ` No answer in time from ${p.several(silent.length, 'proxy', 'proxies')}: ${silent.slice(0, 6).join(', ')}${silent.length > 6 ? ', …' : ''}.`) : null,
    omittedProxies ? ` ${p.several(omittedProxies, 'more proxy', 'more proxies')} not asked.` : null,
    omittedEndpoints ? ` ${p.several(omittedEndpoints, 'more endpoint')} left out.` : null);
}

const named = (text) => {
  const [namespace, name] = text.includes('/') ? text.split('/') : ['', text];
  return [name, namespace ? h('span', { class: 'ns' }, namespace) : null];
};

const list = (s, rows, several) => table({ id: 'endpoints', label: 'Endpoints', rows, key: (r) => `${r.proxy}|${r.service}|${r.address}`, sort: s.q.get('sort'), columns: [
  { id: 'pod', title: 'Endpoint', value: (r) => r.pod || r.address, cell: (r) => [r.pod || r.address, r.pod ? h('span', { class: 'ns' }, r.address) : null] },
  ...(several ? [{ id: 'service', title: 'Service', value: (r) => r.service, cell: (r) => named(r.service) }] : []),
  { id: 'from', title: 'As seen by', value: (r) => r.proxy, cell: (r) => named(r.proxy) },
  { id: 'state', title: 'State', value: rank, cell: state },
  { id: 'ewma', title: 'Latency', number: true, value: (r) => r.ewmaMs, cell: (r) => f.ms(r.ewmaMs) },
  { id: 'flight', title: 'In flight', number: true, value: (r) => r.inFlight, cell: (r) => f.count(r.inFlight) },
  { id: 'weight', title: 'Weight', number: true, value: (r) => r.weight, cell: (r) => f.count(r.weight) },
] });
