// Tables whose columns sort. The order is in the address: sort=rps, sort=-rps.

import { h } from './dom.js';
import * as f from './format.js';

/**
 * table draws rows. A column is { id, title, value(row), cell(row), number, hide }: value is what is
 * sorted by, cell what is shown. key(row) names a row.
 */
export function table({ id, label, columns, rows, key, sort, fallback, most = 200, sortable = true }) {
  const find = (order) => columns.find((c) => c.id === order?.replace(/^-/, ''));
  const wanted = find(sort) ? sort : fallback ?? ''; // the address may be about another table
  const down = wanted.startsWith('-');
  const by = find(wanted);
  const sorted = by ? [...rows].sort((a, b) => compare(by.value(a), by.value(b), down)) : rows;
  const shown = sorted.slice(0, most);
  return h('div', { class: 'table', 'data-key': id },
    h('table', { 'aria-label': label },
      h('thead', null, h('tr', null, columns.map((c) => head(c, by, down, sortable)))),
      h('tbody', null, shown.map((row) => h('tr', { 'data-key': key(row) },
        columns.map((c) => h('td', { class: c.number ? 'number' : null, 'data-label': c.title },
          c.cell ? c.cell(row) : c.value(row))))))),
    rows.length > most ? h('p', { class: 'note' }, `${f.count(rows.length - most)} more: filter to see them`) : null);
}

function head(c, by, down, sortable) {
  const on = by === c;
  const next = on ? (down ? c.id : `-${c.id}`) : (c.number ? `-${c.id}` : c.id);
  const arrow = h('span', { class: 'arrow', 'aria-hidden': 'true' }, on ? (down ? '↓' : '↑') : '');
  return h('th', { scope: 'col', class: c.number ? 'number' : null,
    'aria-sort': on ? (down ? 'descending' : 'ascending') : null },
  c.value && sortable && c.title
    ? h('button', { type: 'button', 'data-do': 'sort', 'data-arg': next },
      c.number ? [arrow, c.title] : [c.title, arrow])
    : c.title);
}

function compare(a, b, down) {
  const none = (v) => v === null || v === undefined || v === '';
  if (none(a) || none(b)) return none(a) - none(b);
  const n = typeof a === 'number' ? a - b : String(a).localeCompare(String(b));
  return down ? -n : n;
}

/** golden are the columns that all tables of figures have. */
export const golden = (cells) => [
  { id: 'ok', title: 'Success', number: true, value: (r) => r.successRate, cell: (r) => cells.success(r.successRate) },
  { id: 'rps', title: 'Req/s', number: true, value: (r) => r.rps, cell: (r) => f.rate(r.rps) },
  { id: 'p50', title: 'p50', number: true, value: (r) => r.p50Ms, cell: (r) => f.ms(r.p50Ms) },
  { id: 'p95', title: 'p95', number: true, value: (r) => r.p95Ms, cell: (r) => f.ms(r.p95Ms) },
  { id: 'p99', title: 'p99', number: true, value: (r) => r.p99Ms, cell: (r) => f.ms(r.p99Ms) },
];
