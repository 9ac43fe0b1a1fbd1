// One workload, or one service: rate, errors and duration over the hour, and what is around it.

import { h } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { chart } from '../chart.js';
import { golden, table } from '../table.js';
import * as changes from './changes.js';
import * as endpoints from './endpoints.js';
import { calls } from './graph.js';
import * as objectives from './objectives.js';

const of = (s) => (s.path[0] === 'service'
  ? { kind: 'service', namespace: s.path[1], name: s.path[2] }
  : { namespace: s.path[1], kind: s.path[2], name: s.path[3] });

const resource = (o) => `${o.kind}/${o.name}`;
const id = (o) => `${o.kind}/${o.namespace}/${o.name}`;

export const title = (s) => of(s).name;
export const compared = true;

export function questions(s) {
  const o = of(s);
  const what = { resource: resource(o), namespace: o.namespace };
  const service = o.kind === 'service';
  const figures = [
    s.live({ name: 'stat', path: 'stat', params: { ...what, ...s.time() } }),
    s.live({ name: 'near', path: 'graph', params: { ...what, ...s.time(), group: service ? 'service' : '' } }),
    { name: 'routes', path: 'routes', params: { ...(service ? what : { from: what.resource, fromNamespace: what.namespace }), ...s.time() }, every: 2 },
    service ? { name: 'backends', path: 'backends', params: { ...what, ...s.time() }, every: 2 }
      : { name: 'pods', path: 'stat', params: { resource: 'pod', namespace: o.namespace, ...s.time() }, every: 2 },
  ];
  return [...figures, ...changes.earlier(s, figures), ...endpoints.questions(s, what), objectives.question(o.namespace),
    { name: 'course', path: 'series', params: { ...what, window: s.range(), ago: s.q.get('ago'), route: s.q.get('route') }, every: 5 }];
}

export function command(s) {
  const o = of(s);
  const verb = o.kind === 'service' ? 'routes svc' : `stat ${o.kind === 'deployment' ? 'deploy' : o.kind}`;
  return `meshctl viz ${verb}/${o.name} -n ${o.namespace}${s.flags()}`;
}

export function view(s, answers) {
  const o = of(s);
  const stat = answers.stat?.data?.rows?.[0];
  const near = answers.near?.data;
  const slo = answers.slo?.data;
  const service = o.kind === 'service' ? id(o) : near?.nodes.find((n) => n.id === id(o))?.service;
  return h('div', { class: 'view', 'data-key': resource(o) },
    h('div', { class: 'title' }, h('p', { class: 'kind' }, `${o.kind} in ${o.namespace}`),
      h('h1', null, o.name, objectives.badge(s, slo, service))),
    answers.stat?.data && !stat ? p.empty(`Viz knows no ${o.kind} ${o.name} in ${o.namespace}.`,
      'It may have ended more than an hour ago, or nobody has called it yet.') : null,
    stat ? figures(stat) : null,
    changes.panel(s, answers.statBefore, s.other() ? pairs(s, o, answers) : []),
    charts(s, answers.course),
    promises(s, slo, service),
    o.kind === 'service' ? versions(s, answers.backends?.data) : null,
    routes(s, o, answers.routes),
    near ? around(s, near, o) : null,
    endpoints.panel(s, o, answers.endpoints),
    answers.pods?.data ? instances(s, o, answers.pods.data.rows) : null);
}

function figures(r) {
  return h('div', { class: 'tiles', 'data-key': 'tiles' },
    p.tile('Requests', [f.rate(r.rps), h('small', null, '/s')], [h('span', { id: 'total' }, f.count(r.requests)), ' since the proxies started']),
    p.tile('Success', f.percent(r.successRate), `${f.count(r.windowFailures)} of ${f.count(r.windowRequests)} failed`, f.health(r.successRate)),
    p.tile('Latency, p95', f.ms(r.p95Ms), `p50 ${f.ms(r.p50Ms)} · p99 ${f.ms(r.p99Ms)}`),
    r.tries > 0 ? p.tile('Really sent', [f.rate(r.actualRps), h('small', null, '/s')], `${f.percent(r.actualSuccessRate)} of tries succeed`) : null,
    r.proxies > 0 ? p.tile('Proxies', f.count(r.proxies), r.certificateExpiry
      ? `certificate ends in ${f.span((Date.parse(r.certificateExpiry) - Date.now()) / 1000)}` : '') : null,
    r.endpoints > 0 ? p.tile('Endpoints', `${r.endpoints - r.ejected} of ${r.endpoints}`, r.ejected ? `${r.ejected} ejected` : 'none ejected', r.ejected ? 'bad' : '') : null,
    r.connections > 0 || r.readBytesPerSecond > 0
      ? p.tile('Bytes', [f.bytes(r.readBytesPerSecond + r.writtenBytesPerSecond), h('small', null, '/s')], `${f.count(r.connections)} connections`) : null);
}

function charts(s, answer) {
  if (!answer?.data) return null;
  const c = known(answer.data);
  const failing = c.failures.map((n, i) => (c.rps[i] === null ? null : c.requests[i] ? (c.rps[i] * n) / c.requests[i] : 0));
  const range = s.range();
  return h('section', { class: 'panel charts', 'data-key': 'charts' },
    h('div', { class: 'tools' }, h('h2', null, 'Over time'),
      h('div', { class: 'segments', role: 'group', 'aria-label': 'Range' }, ['5m', '15m', '1h'].map((r) =>
        h('button', { type: 'button', 'data-key': r, 'data-do': 'set', 'data-arg': `range=${r === '1h' ? '' : r}`, 'aria-pressed': String(range === r) }, r)))),
    h('div', { class: 'grid3' },
      chart('rate', 'Requests per second', c, [{ name: 'all', kind: 'a', values: c.rps }, { name: 'failed', kind: 'bad', values: failing }]),
      chart('success', 'Success', c, [{ name: 'success', kind: 'good', values: c.successRate }],
        { format: f.percent, most: 1, area: false, least: (v) => Math.min(0.95, Math.floor(Math.min(...v, 1) * 20) / 20) }),
      chart('latency', 'Latency', c, [{ name: 'p50', kind: 'a', values: c.p50Ms }, { name: 'p95', kind: 'b', values: c.p95Ms },
        { name: 'p99', kind: 'c', values: c.p99Ms }], { format: f.ms, area: false })));
}

// known leaves out the time before viz remembers anything.
function known(course) {
  const first = course.rps.findIndex((v) => v !== null);
  const skip = Math.min(Math.max(first - 1, 0), course.rps.length - 24);
  if (first < 0 || skip < 2) return course;
  const out = { ...course, begin: new Date(Date.parse(course.begin) + skip * course.stepSeconds * 1000).toISOString() };
  for (const [name, values] of Object.entries(course)) if (Array.isArray(values)) out[name] = values.slice(skip);
  return out;
}

function versions(s, data) {
  const rows = data?.rows ?? [];
  if (rows.length < 2) return null;
  const all = rows.reduce((n, r) => n + r.windowRequests, 0);
  return p.panel('Versions', table({ id: 'versions', label: 'Versions', rows, key: (r) => r.backend, fallback: '-rps', sortable: false,
    columns: [
      { id: 'backend', title: 'Backend', value: (r) => r.backend, cell: (r) => r.backend.split('.')[0] },
      { id: 'share', title: 'Share', number: true, value: (r) => r.windowRequests, cell: (r) => f.percent(all ? r.windowRequests / all : null) },
      ...golden(p),
    ] }), h('p', null, h('a', { class: 'button', href: s.link(`/canary/${rows[0].namespace}/${rows[0].service}`) }, 'Compare them')));
}

function routes(s, o, answer) {
  const rows = (answer?.data?.rows ?? []).filter((r) => r.windowRequests > 0 || r.requests > 0);
  if (!rows.length) return null;
  const service = o.kind === 'service';
  return p.panel(service ? 'Routes, as its callers see them' : 'What it calls, by route', table({
    id: 'routes', label: 'Routes', rows, key: (r) => `${r.namespace}/${r.service}/${r.route}`, sort: s.q.get('sort'), fallback: '-rps',
    columns: [
      ...(service ? [] : [{ id: 'service', title: 'Service', value: (r) => r.service,
        cell: (r) => p.name({ kind: r.namespace ? 'service' : 'address', namespace: r.namespace, name: r.service }, s.search()) }]),
      { id: 'route', title: 'Route', value: (r) => r.route, cell: (r) => h('span', { class: 'route' }, r.route) },
      ...golden(p),
      { id: 'actual', title: 'Really sent', number: true, value: (r) => r.actualSuccessRate, cell: (r) => (r.tries ? p.success(r.actualSuccessRate) : f.none) },
      { id: 'troubles', title: 'Troubles', value: (r) => r.windowTimeouts + r.windowLimited + r.windowFaulted,
        cell: (r) => h('span', { class: 'chips' }, p.troubles({ ...r, retries: r.windowRetries, timeouts: r.windowTimeouts, limited: r.windowLimited, faulted: r.windowFaulted, retriesRefused: 0 })) },
    ] }));
}

function promises(s, slo, service) {
  const { namespace, name } = p.nodeOf(service ?? '//');
  const rows = objectives.of(slo, namespace, name);
  return rows.length ? p.panel('Objectives', objectives.list(s, rows)) : null;
}

// pairs are what a change may be in: all of it, a route, a caller, a version or an instance.
function pairs(s, o, answers) {
  const part = (text, kind) => [h('b', null, text), h('span', { class: 'ns' }, kind)];
  const of = (name, rows, key, what) => {
    const [now, then] = [answers[name]?.data, answers[`${name}Before`]?.data];
    return now && then ? changes.rows(rows(now), rows(then), { key, what }) : [];
  };
  return [
    ...of('stat', (a) => a.rows, () => 'all', () => h('b', null, 'All requests')),
    ...of('routes', (a) => a.rows, (r) => `route ${r.service} ${r.route}`,
      (r) => part(r.route, o.kind === 'service' ? 'route' : `route of ${r.service}`)),
    ...of('near', (a) => a.edges.filter((e) => e.to === id(o)), (e) => `caller ${e.from}`, (e) => part(p.nodeOf(e.from).name, 'caller')),
    ...of('backends', (a) => (a.rows.length > 1 ? a.rows : []), (r) => `version ${r.backend}`, (r) => part(r.backend.split('.')[0], 'version')),
    ...of('pods', (a) => a.rows.filter((r) => r.workload === resource(o)), (r) => `instance ${r.name}`, (r) => part(r.name, 'instance')),
  ];
}

function around(s, g, o) {
  const callers = g.edges.filter((e) => e.to === id(o));
  const callees = g.edges.filter((e) => e.from === id(o));
  return h('div', { class: 'two', 'data-key': 'around' },
    p.panel('Callers', callers.length ? calls(s, g, 'callers', callers, { without: ['to', 'p50', 'p99'] }) : p.empty('Nobody calls it in this window.')),
    o.kind === 'service' && !callees.length ? null
      : p.panel('Calls', callees.length ? calls(s, g, 'callees', callees, { without: ['from', 'p50', 'p99'] }) : p.empty('It calls nobody in this window.')));
}

function instances(s, o, pods) {
  const rows = pods.filter((r) => r.workload === `${o.kind}/${o.name}`);
  if (!rows.length) return null;
  return p.panel('Instances', table({ id: 'pods', label: 'Instances', rows, key: (r) => r.name, sort: s.q.get('sort'), fallback: 'name',
    columns: [
      { id: 'name', title: 'Pod', value: (r) => r.name },
      ...golden(p),
      { id: 'connections', title: 'Connections', number: true, value: (r) => r.connections, cell: (r) => f.count(r.connections) },
      { id: 'cert', title: 'Certificate', number: true, value: (r) => r.certificateExpiry,
        cell: (r) => (r.certificateExpiry ? f.span((Date.parse(r.certificateExpiry) - Date.now()) / 1000) : 'gone') },
      { id: 'troubles', title: 'Troubles', value: (r) => r.ejected, cell: (r) => h('span', { class: 'chips' }, p.troubles({ ...r, retries: 0, retriesRefused: 0 })) },
    ] }));
}
