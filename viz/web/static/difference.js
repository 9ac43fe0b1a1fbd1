// What differs between two measurements of like things, and whether that is for the better.

import { h } from './dom.js';
import * as f from './format.js';

/** enough is how many requests each side must have had before they are judged. */
export const enough = 30;

const sign = (v) => (v > 0 ? '+' : v < 0 ? '−' : '±');
const points = (a, b) => `${sign(b - a)}${Math.abs((b - a) * 100).toFixed(2)} points`;

function times(a, b) {
  if (!(a > 0)) return b > 0 ? 'new' : f.none;
  const by = b / a;
  return by >= 10 ? `×${by.toFixed(0)}` : `${sign(b - a)}${Math.abs((by - 1) * 100).toFixed(0)} %`;
}

// Where more is better, better is 1, where less is, -1, and 0 where neither. A difference within the
// slack, or a part of the first value that is relative, is none.
const share = (name, of, slack, better = 1) => ({ name, of, show: f.percent, better, difference: points, slack });
const length = (name, of) => ({ name, of, show: f.ms, better: -1, difference: times, relative: 0.1 });

export const rate = { name: 'Req/s', of: (r) => r.rps, show: f.rate, better: 0, difference: times, relative: 0.25 };
export const success = share('Success', (r) => r.successRate, 0.005);
export const actual = share('Really succeeded', (r) => r.actualSuccessRate, 0.005);
export const p50 = length('p50', (r) => r.p50Ms);
export const p95 = length('p95', (r) => r.p95Ms);
export const p99 = length('p99', (r) => r.p99Ms);
export const timeouts = share('Timeouts', (r) => (r.windowRequests ? r.windowTimeouts / r.windowRequests : null), 0.002, -1);

const none = (v) => v === null || v === undefined;
const few = (r) => (r.windowRequests ?? 0) < enough;

/** judged says whether both sides have had enough requests. */
export const judged = (a, b) => !few(a) && !few(b);

/** compare is good, bad, same, more, less, or '' where there is nothing to compare. */
export function compare(m, before, after) {
  const [a, b] = [m.of(before), m.of(after)];
  if (none(a) || none(b)) return '';
  const off = b - a;
  if (Math.abs(off) <= (m.slack ?? a * m.relative)) return 'same';
  if (m.better === 0) return off > 0 ? 'more' : 'less';
  return off * m.better > 0 ? 'good' : 'bad';
}

const marks = { bad: '▼', good: '▲', same: '≈', more: '↑', less: '↓' };
const words = { bad: 'worse', good: 'better', same: 'about the same', more: 'more', less: 'less' };

/** verdict shows how one differs from the other. */
export function verdict(m, before, after) {
  const kind = compare(m, before, after);
  if (!kind) return f.none;
  const text = m.difference(m.of(before), m.of(after));
  if (!judged(before, after)) return h('span', { class: 'idle', title: 'too few requests' }, text);
  return h('span', { class: kind === 'bad' || kind === 'good' ? kind : 'idle', title: words[kind] }, `${marks[kind]} ${text}`);
}
