// What services promise, how much of their error budgets is left, and how fast it burns.

import { h, s as svg } from '../dom.js';
import * as f from '../format.js';
import * as p from '../parts.js';
import { table } from '../table.js';

export const title = () => 'Objectives';

/** question asks how objectives stand: now, for viz keeps no past of that. */
export const question = (namespace) => ({ name: 'slo', path: 'slo', params: { namespace }, every: 5 });

export const questions = () => [question()];

export const command = () => 'meshctl slo -A -o wide';

export function view(s, answers) {
  const slo = answers.slo?.data;
  if (!slo) return h('div', { class: 'view' }, p.waiting(answers.slo, 'objectives'));
  return h('div', { class: 'view', 'data-key': 'objectives' }, h('h1', null, 'Objectives'),
    slo.rows.length ? [tiles(slo), p.panel('Error budgets', note(s, slo), list(s, slo.rows))]
      : p.empty('No service promises anything yet.',
        ['A ', p.code('ServiceLevelObjective'), ' says what part of a Service’s requests goes well; viz counts from then on.']));
}

const note = (s, slo) => h('p', { class: 'note' },
  'A burn rate of 1 uses the budget up in just the objective’s window. It alerts where a long and a short window both burn fast.',
  s.q.get('ago') ? ' This is how they stand now: viz keeps no past of it.' : null,
  slo.refused ? ` ${f.count(slo.refused)} more are beyond what viz keeps.` : null);

function tiles(slo) {
  const rows = [...slo.rows].sort(byGravity);
  const firing = rows.filter((r) => r.alert);
  const spent = rows.filter((r) => r.budgetLeft <= 0);
  const least = rows.reduce((a, b) => (b.budgetLeft < a.budgetLeft ? b : a));
  return h('div', { class: 'tiles', 'data-key': 'tiles' },
    p.tile('Objectives', f.count(rows.length), `of ${f.count(new Set(rows.map((r) => `${r.namespace}/${r.service}`)).size)} services`),
    p.tile('Alerts', f.count(firing.length), firing.length ? firing.slice(0, 3).map((r) => r.name).join(', ') : 'none fires',
      firing.length ? standing(firing[0]) : ''),
    p.tile('Used up', f.count(spent.length), spent.length ? 'budgets of which nothing is left' : 'every budget has something left', spent.length ? 'bad' : ''),
    p.tile('Least left', left(least), least.name, standing(least)));
}

/** standing is how an objective does: good, warn, bad, or idle where there were no requests. */
export function standing(r) {
  if (r.alert?.severity === 'page' || r.budgetLeft <= 0) return 'bad';
  if (r.alert || r.budgetLeft < 0.25) return 'warn';
  return r.requests ? 'good' : 'idle';
}

const grave = ['idle', 'good', 'warn', 'bad'];
const byGravity = (a, b) => grave.indexOf(standing(b)) - grave.indexOf(standing(a)) || a.budgetLeft - b.budgetLeft;

// exact is a share with as many digits as it has: 99.95 % is no 99.9 %.
const exact = (v) => `${Number((v * 100).toFixed(4))} %`;

/** left is what is left of a budget; below zero is what was used beyond it. */
function left(r) {
  const v = r.budgetLeft * 100;
  return v === 100 ? '100 %' : `${v < 0 ? '−' : ''}${Math.abs(Math.floor(v * 10) / 10).toFixed(1)} %`; // never rounded up
}

const promised = (r) => [exact(r.objective), h('span', { class: 'ns' },
  [r.latencyMs ? `< ${f.ms(r.latencyMs)}` : null, f.span(r.windowSeconds)].filter(Boolean).join(', '))];

const runsOut = (r) => (r.budgetLeft <= 0 ? 'used up' : f.span(r.exhaustedInSeconds));

const meter = (r) => svg('svg', { class: `meter ${standing(r)}`, viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
  svg('rect', { class: 'all', width: 100, height: 8 }),
  svg('rect', { class: 'left', width: (100 * Math.min(1, Math.max(0, r.budgetLeft))).toFixed(2), height: 8 }));

const alertText = (a) => `${a.severity} · ${a.long}`;
const alertTitle = (a) => `burns more than ${Number(a.burn.toFixed(2))} times too fast in ${a.long} and in ${a.short}`;

const alert = (r) => (r.alert
  ? h('span', { class: `chip ${r.alert.severity === 'page' ? 'bad' : 'warn'}`, title: alertTitle(r.alert) }, alertText(r.alert)) : null);

function burn(r, window) {
  const b = r.burns.find((x) => x.window === window);
  if (!b || b.rate === null) return h('span', { class: 'idle' }, f.none);
  const over = r.alerts.filter((a) => (a.long === window || a.short === window) && b.rate > a.burn);
  const kind = over.some((a) => a.severity === 'page') ? 'bad' : over.length || b.rate > 1 ? 'warn' : null;
  return h('span', { class: kind, title: `${f.count(b.requests)} requests; ${f.percent(b.known)} of the ${window} is known` },
    b.rate >= 100 ? b.rate.toFixed(0) : b.rate.toFixed(b.rate >= 10 ? 1 : 2));
}

// burnColumns are the shortest window, and those that an alert looks back over.
function burnColumns(rows) {
  const long = new Set(rows.flatMap((r) => [r.burns[0]?.window, ...r.alerts.map((a) => a.long)]));
  const windows = new Map(rows.flatMap((r) => r.burns.filter((b) => long.has(b.window)).map((b) => [b.window, b.windowSeconds])));
  return [...windows].sort((a, b) => a[1] - b[1]).map(([w], i) => ({ id: `burn${w}`, title: i ? w : `Burn, ${w}`, number: true,
    value: (r) => r.burns.find((b) => b.window === w)?.rate, cell: (r) => burn(r, w) }));
}

/** list is a table of objectives. */
export function list(s, rows) {
  return table({ id: 'objectives', label: 'Objectives', rows: [...rows].sort(byGravity), key: (r) => `${r.namespace}/${r.name}`, sort: s.q.get('sort'),
    columns: [
      { id: 'name', title: 'Objective', value: (r) => r.name, cell: (r) => h('span', { class: `state ${standing(r)}` },
        h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[standing(r)]), h('b', null, r.name)) },
      { id: 'service', title: 'Service', value: (r) => r.service, cell: (r) => [
        p.name({ kind: 'service', namespace: r.namespace, name: r.service }, s.search(), !r.route), r.route ? h('span', { class: 'ns route' }, r.route) : null] },
      { id: 'target', title: 'Promised', number: true, value: (r) => r.objective, cell: promised },
      { id: 'ok', title: 'Kept', number: true, value: (r) => r.successRate, cell: (r) => h('span', {
        title: `${f.count(r.bad)} of ${f.count(r.requests)} went wrong since ${new Date(r.since).toLocaleString('en-GB')}` },
      r.successRate === null ? f.none : exact(Math.floor(r.successRate * 1e5) / 1e5)) },
      { id: 'left', title: 'Budget left', number: true, value: (r) => r.budgetLeft, cell: (r) => h('span', { class: 'budget' }, meter(r),
        h('span', { class: `figure ${standing(r)}` }, left(r))) },
      ...burnColumns(rows),
      { id: 'out', title: 'Used up in', number: true, value: (r) => (r.budgetLeft <= 0 ? 0 : r.exhaustedInSeconds), cell: runsOut },
      { id: 'alert', title: 'Alert', value: (r) => grave.indexOf(standing(r)), cell: (r) => alert(r) ?? h('span', { class: 'idle' }, 'none') },
    ] });
}

/** cards are the gravest of all objectives, in short. */
export function cards(s, rows, most = 8) {
  return h('ul', { class: 'cards' }, [...rows].sort(byGravity).slice(0, most).map((r) =>
    h('li', { class: 'card', 'data-key': `${r.namespace}/${r.name}` },
      h('span', { class: 'head' }, h('a', { class: `state ${standing(r)}`, href: s.link('/objectives') },
        h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[standing(r)]), h('b', null, r.name)), alert(r)),
      h('span', { class: 'what' }, `${exact(r.objective)} of `,
        p.name({ kind: 'service', namespace: r.namespace, name: r.service }, s.search(), false), r.route ? ` ${r.route}` : null, r.latencyMs ? ` in ${f.ms(r.latencyMs)}` : null),
      meter(r), h('span', { class: 'foot' }, h('span', { class: standing(r) }, `${left(r)} of the budget`),
        r.budgetLeft > 0 && r.exhaustedInSeconds !== null ? h('span', null, `used up in ${f.span(r.exhaustedInSeconds)}`) : null))));
}

/** of are the objectives of a service. */
export const of = (slo, namespace, service) => (slo?.rows ?? []).filter((r) => r.namespace === namespace && r.service === service);

/** badge shows the gravest of a service's objectives in a word; a service is a node's ID. */
export function badge(s, slo, service) {
  const { namespace, name } = p.nodeOf(service ?? '//');
  const [worst, ...others] = of(slo, namespace, name).sort(byGravity);
  if (!worst) return null;
  const kind = standing(worst);
  return h('a', { class: `chip badge ${kind}`, href: s.link('/objectives'),
    title: `Objective ${worst.name}: ${left(worst)} of the budget is left${worst.alert ? `; ${alertTitle(worst.alert)}` : ''}${others.length ? `; ${others.length} more` : ''}` },
  h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[kind]), worst.alert ? ` ${worst.alert.severity}` : ` budget ${left(worst)}`);
}
