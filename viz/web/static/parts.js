// Parts that several views have.

import { h } from './dom.js';
import * as f from './format.js';

/** state is a mark with a word: colour is never all. */
export function state(success, more) {
  const kind = f.health(success);
  return h('span', { class: `state ${kind}`, title: f.healthWords[kind] },
    h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[kind]), f.percent(success), more);
}

/** bar shows a share of 0 to 1 beside its figure. */
export function success(v) {
  const kind = f.health(v);
  return h('span', { class: `success ${kind}` },
    h('span', { class: 'mark', 'aria-hidden': 'true' }, f.marks[kind]),
    h('span', { class: 'figure' }, f.percent(v)));
}

/** lock says how a call is protected. */
export function lock(edge) {
  if (edge.security === 'none') {
    return h('span', { class: 'lock none', title: 'reached no endpoint' }, 'no endpoint');
  }
  if (edge.encrypted) {
    return h('span', { class: 'lock', title: 'mutual TLS' },
      h('span', { class: 'icon lock-icon', 'aria-hidden': 'true' }), 'mTLS');
  }
  return h('span', { class: 'lock open', title: edge.reason },
    h('span', { class: 'icon open-icon', 'aria-hidden': 'true' }), edge.security);
}

/** troubles are what went wrong beside failing, each with its reason's word. */
export function troubles(v) {
  const chips = [
    [v.timeouts ?? v.windowTimeouts, 'timeout', 'timed out', 'warn'],
    [v.retries ?? v.windowRetries, 'retried', 'tries that were sent again', ''],
    [v.retriesRefused, 'retry_budget', 'retries that the budget refused', 'warn'],
    [v.limited ?? v.windowLimited, 'limited', 'refused by a rate limit or a limit of the cluster', 'warn'],
    [v.faulted ?? v.windowFaulted, 'fault_injected', 'delayed or failed on purpose', ''],
    [v.ejected, 'ejected', `of ${v.endpoints} endpoints kept from requests`, 'bad'],
  ].filter(([n]) => n > 0);
  return chips.map(([n, word, title, kind]) =>
    h('span', { class: `chip ${kind}`, title: `${f.count(n)} ${title}`, 'data-key': word },
      `${word} ${word === 'ejected' ? `${n}/${v.endpoints}` : f.count(n)}`));
}

export function tile(label, value, more, kind = '') {
  return h('div', { class: `tile ${kind}`, 'data-key': label },
    h('div', { class: 'label' }, label), h('div', { class: 'value' }, value),
    more ? h('div', { class: 'more' }, more) : null);
}

export const panel = (title, ...children) =>
  h('section', { class: 'panel', 'data-key': title }, title ? h('h2', null, title) : null, children);

export const empty = (why, fix) =>
  h('div', { class: 'empty' }, h('p', null, why), fix ? h('p', null, fix) : null);

/** several is a number of things. */
export const several = (n, one, more = `${one}s`) => `${f.count(n)} ${n === 1 ? one : more}`;

export const code = (text) => h('code', null, text);

/** waiting stands where an answer is not there yet, or is an error. */
export function waiting(answer, what) {
  if (!answer) return h('p', { class: 'empty' }, `Asking viz for ${what} …`);
  if (answer.missing) return empty(`This viz does not tell of ${what}.`, 'Its version may be older than the page’s.');
  if (answer.error) return empty(answer.error);
  return null;
}

/** place is the page of a node of the graph. */
export function place(node) {
  const part = encodeURIComponent;
  if (node.kind === 'namespace') return `/graph?open=${part(node.name)}`;
  if (node.kind === 'service') return `/service/${part(node.namespace)}/${part(node.name)}`;
  if (!node.namespace || node.kind === 'serviceaccount') return null;
  return `/workload/${part(node.namespace)}/${part(node.kind)}/${part(node.name)}`;
}

/** name is a node's, as a link where it has a page. */
export function name(node, search, withNamespace = true) {
  const href = place(node);
  const text = [node.name, withNamespace && node.namespace && node.kind !== 'namespace'
    ? h('span', { class: 'ns' }, node.namespace) : null];
  if (!href) return h('span', { class: 'name' }, text);
  const join = href.includes('?') ? '&' : '?';
  return h('a', { class: 'name', href: search ? href + join + search : href }, text);
}

/** nodeOf takes a node's ID apart. */
export function nodeOf(id) {
  const [kind, namespace, ...rest] = id.split('/');
  return { id, kind, namespace, name: rest.join('/') };
}
