// Traces that viz has kept, and one of them as a waterfall.

import { h, s as svg } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { table } from '../table.js';

export const title = () => 'Traces';

export const questions = (s) => (s.path[1]
  ? [{ name: 'trace', path: `traces/${encodeURIComponent(s.path[1])}` }]
  : [{ name: 'traces', path: 'traces', params: {}, every: 2 }]);

export const command = (s) => `meshctl viz traces${s.path[1] ? ` ${s.path[1]}` : ''}`;

export function view(s, answers) {
  return s.path[1] ? one(s, answers.trace) : list(s, answers.traces);
}

function list(s, answer) {
  const rows = answer?.data?.traces ?? (Array.isArray(answer?.data) ? answer.data : null);
  return h('div', { class: 'view', 'data-key': 'traces' }, h('h1', null, 'Traces'),
    p.panel('', !rows ? p.waiting(answer, 'traces')
      : rows.length === 0 ? p.empty('Viz has kept no trace yet.', 'A TelemetryPolicy says what share of requests is traced; those that are slow or fail are kept besides.')
        : table({ id: 'traces', label: 'Traces', rows, key: (t) => t.traceId, sort: s.q.get('sort'), fallback: '-start', columns: [
          { id: 'start', title: 'Began', value: (t) => Date.parse(t.start), cell: (t) => h('a', { href: `/traces/${t.traceId}` }, f.clock(t.start)) },
          { id: 'root', title: 'Request', value: (t) => t.root, cell: (t) => h('a', { class: 'name', href: `/traces/${t.traceId}` }, t.root || f.none) },
          { id: 'service', title: 'Workload', value: (t) => t.service },
          { id: 'duration', title: 'Took', number: true, value: (t) => t.durationMs, cell: (t) => f.ms(t.durationMs) },
          { id: 'spans', title: 'Spans', number: true, value: (t) => t.spans, cell: (t) => f.count(t.spans) },
          { id: 'failed', title: 'Outcome', value: (t) => (t.failed ? 0 : 1), cell: (t) => [h('span', { class: `state ${t.failed ? 'bad' : 'good'}` },
            h('span', { class: 'mark', 'aria-hidden': 'true' }, t.failed ? '✕' : '✓'), t.failed ? 'failed' : 'ok'),
          t.reason ? h('span', { class: 'chip warn' }, t.reason) : null, t.retries ? h('span', { class: 'chip' }, `${t.retries} retries`) : null] },
        ] })));
}

function one(s, answer) {
  const t = answer?.data;
  if (!t) return h('div', { class: 'view' }, answer?.missing ? p.empty('Viz does not keep this trace (any more).', [h('a', { href: '/traces' }, 'Those that it keeps')]) : p.waiting(answer, 'the trace'));
  const spans = t.spans ?? [];
  const starts = spans.map((x) => x.startUs);
  const begin = Math.min(...starts);
  const length = Math.max(...spans.map((x) => x.startUs + x.durationUs)) - begin || 1;
  const chosen = spans.find((x) => x.spanId === s.q.get('sel'));
  return h('div', { class: 'view', 'data-key': 'trace' },
    h('div', { class: 'title' }, h('p', { class: 'kind' }, 'trace ', h('span', { class: 'id' }, s.path[1])), h('h1', null, t.root || spans[0]?.name || 'Trace')),
    p.panel('', h('ol', { class: 'waterfall', 'aria-label': 'Spans' }, spans.map((x) => span(s, x, depthOf(x, spans), begin, length)))),
    chosen ? p.panel(chosen.name, h('dl', { class: 'facts' }, [['workload', chosen.workload], ['kind', chosen.kind],
      ['took', f.ms(chosen.durationUs / 1000)], ['reason', chosen.reason], ...Object.entries(chosen.attributes ?? {})]
      .filter(([, v]) => v !== undefined && v !== '').map(([k, v]) => [h('dt', null, k), h('dd', null, String(v))]))) : null);
}

function depthOf(x, spans) {
  if (x.depth !== undefined) return x.depth;
  const parent = spans.find((y) => y.spanId === x.parentId);
  return parent && parent !== x ? 1 + depthOf(parent, spans) : 0;
}

function span(s, x, depth, begin, length) {
  const bad = x.status === 'error';
  const left = ((x.startUs - begin) / length) * 100;
  const width = Math.max((x.durationUs / length) * 100, 0.4);
  return h('li', { 'data-key': x.spanId, class: s.q.get('sel') === x.spanId ? 'selected' : null },
    h('button', { type: 'button', 'data-do': 'select', 'data-arg': x.spanId },
      h('span', { class: `what d${Math.min(depth, 8)}` }, h('span', { class: `state ${bad ? 'bad' : 'good'}` }, h('span', { class: 'mark', 'aria-hidden': 'true' }, bad ? '✕' : '✓')),
        h('b', null, x.workload), ' ', x.name, x.reason ? h('span', { class: 'chip warn' }, x.reason) : null),
      svg('svg', { class: 'bar', viewBox: '0 0 100 10', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        svg('rect', { class: `${x.kind} ${bad ? 'bad' : ''}`, x: left.toFixed(2), y: 1, width: width.toFixed(2), height: 8 })),
      h('span', { class: 'took' }, f.ms(x.durationUs / 1000))));
}
