// The frame: what the address says is shown, and what is shown is in the address.

import { h, paint } from './dom.js';
import * as api from './api.js';
import * as chart from './chart.js';
import * as f from './format.js';
import * as graph from './graph.js';
import * as canary from './views/canary.js';
import * as graphView from './views/graph.js';
import * as identities from './views/identities.js';
import * as limits from './views/limits.js';
import * as live from './views/live.js';
import * as object from './views/object.js';
import * as objectives from './views/objectives.js';
import * as overview from './views/overview.js';
import * as traces from './views/traces.js';
import { serviceList, workloadList } from './views/lists.js';

const views = {
  '': overview, graph: graphView, services: serviceList, workloads: workloadList, service: object, workload: object,
  canary, identities, limits, live, objectives, traces,
};

const tabs = [['', 'Overview', 'o'], ['graph', 'Graph', 'g'], ['services', 'Services', 's'], ['workloads', 'Workloads', 'w'],
  ['canary', 'Canary', 'c'], ['objectives', 'Objectives', 'b'], ['limits', 'Policies', 'p'], ['identities', 'Identities', 'i'], ['live', 'Live', 'l'], ['traces', 'Traces', 't']];

const windows = ['10s', '30s', '1m', '5m', '15m', '1h'];
// kept are the parameters that go along from view to view.
const kept = ['window', 'ago', 'filter', 'compare'];

let state = null;
let connected = { ok: true };
const running = new Map(); // question's name → { text, stop }
let answers = {};
let drawing = false;
let records = 0;
let seen = false;

function parse() {
  const path = location.pathname.split('/').slice(1).map(decodeURIComponent);
  const q = new URLSearchParams(location.search);
  const value = (name) => q.get(name) ?? undefined;
  const past = Boolean(value('ago'));
  return {
    path, q: { get: value }, view: views[path[0]] ?? overview,
    time: () => ({ window: value('window'), ago: value('ago') }),
    range: () => value('range') ?? '1h',
    // other is the window to compare with, as parameters of a question; null: none. compared names it.
    other: () => other(value('window'), seconds(value('ago')), value('compare')),
    compared: () => comparisonText(value('compare')),
    // live is a question whose answers stream, unless it is about the past.
    live: (question) => (past ? { ...question, every: 5 } : { ...question, stream: true }),
    flags: () => (value('window') ? ` --window ${value('window')}` : '') + (value('ago') ? ` --ago ${value('ago')}` : ''),
    search: () => pick(kept).toString(),
    link: (href) => { const p = pick(kept).toString(); return p ? href + (href.includes('?') ? '&' : '?') + p : href; },
  };
}

// A comparison is "before", how much earlier, or the time at which the other window ended.
const comparisons = [['', 'Compare with …'], ['before', 'the window before'], ['5m', '5 min earlier'], ['15m', '15 min earlier'], ['30m', '30 min earlier']];
const isTime = (text) => !Number.isNaN(Date.parse(text ?? ''));

function other(window, ago, compare) {
  if (!compare) return null;
  if (isTime(compare)) return { window, at: compare };
  return { window, ago: `${ago + (compare === 'before' ? seconds(window) || 60 : seconds(compare))}s` };
}

function comparisonText(compare) {
  if (isTime(compare)) return `the window until ${f.clock(compare).slice(0, 5)}`;
  return comparisons.find(([value]) => value === compare)?.[1] ?? `${compare} earlier`;
}

// minute is a time in an address, and latest the last one at which clocks said so.
const minute = (ms) => `${new Date(ms).toISOString().slice(0, 16)}Z`;
function latest(text) {
  const at = new Date();
  const [hours, minutes] = text.split(':').map(Number);
  at.setHours(hours, minutes, 0, 0);
  return minute(at > new Date() ? at - 86400e3 : at);
}

function pick(names) {
  const now = new URLSearchParams(location.search);
  const out = new URLSearchParams();
  for (const name of names) if (now.get(name)) out.set(name, now.get(name));
  return out;
}

function go(href, replace = false) {
  if (href === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', href);
  show();
}

function set(changes, replace = false) {
  const q = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) q.set(name, value);
    else q.delete(name);
  }
  const text = q.toString().replaceAll('%2C', ',').replaceAll('%2F', '/').replaceAll('%3E', '>').replaceAll('%3A', ':');
  go(location.pathname + (text ? `?${text}` : ''), replace);
}

const hour = { name: 'hour', path: 'series', params: { resource: 'ns', window: '1h', step: '1m' }, every: 10 };

function show() {
  const before = state;
  state = parse();
  if (!before || before.view !== state.view || before.path.join('/') !== state.path.join('/')) {
    answers = { hour: answers.hour };
    chart.forget();
    document.getElementById('main').scrollTop = 0;
    if (before) scrollTo(0, 0);
  }
  const wanted = new Map([hour, ...state.view.questions(state)].map((q) => [q.name, q]));
  for (const [name, one] of running) {
    if (wanted.has(name) && JSON.stringify(wanted.get(name)) === one.text) continue;
    one.stop();
    running.delete(name);
  }
  for (const [name, q] of wanted) {
    if (running.has(name)) continue;
    if (q.events) delete answers[name];
    running.set(name, { text: JSON.stringify(q), stop: api.ask(q, (answer) => hear(q, answer)) });
  }
  document.title = `${state.view.title(state)} · Tulle`;
  draw();
}

function hear(q, answer) {
  const old = answers[q.name];
  if (q.events && !answer.missing && !answer.error) {
    const list = old?.list ?? [];
    if (answer.data) list.push({ ...answer.data, key: records++ });
    if (list.length > 2 * q.keep) list.splice(0, list.length - q.keep);
    answers[q.name] = { list };
  } else if (answer.error && old?.data) {
    answers[q.name] = { data: old.data, problem: answer.error };
  } else {
    answers[q.name] = answer;
  }
  later();
}

function later() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => { drawing = false; draw(); });
}

function draw() {
  paint(document.getElementById('top'), top());
  paint(document.getElementById('banner'), banner());
  const main = document.getElementById('main');
  paint(main, h('div', { class: 'page' }, state.view.view(state, answers), foot()));
  for (const part of main.querySelectorAll('[data-share]')) part.style.setProperty('--share', part.dataset.share);
  graph.refit();
  if (!seen && answers[state.view.questions(state)[0].name]?.data) {
    seen = true;
    performance.mark('figures'); // the page's test reads how soon there are some
  }
}

const banner = () => (connected.ok ? h('div') : h('div', { class: 'lost' },
  h('span', { class: 'mark', 'aria-hidden': 'true' }, '▲'), connected.why));

function top() {
  const on = { service: 'services', workload: 'workloads' }[state.path[0]] ?? state.path[0];
  return h('div', { class: 'bar' },
    h('div', { class: 'row' },
      h('a', { class: 'brand', href: state.link('/') }, h('img', { src: '/static/icon.svg', alt: '', width: 26, height: 26 }), 'Tulle'),
      h('nav', { 'aria-label': 'Views' }, tabs.map(([path, text]) =>
        h('a', { href: state.link(`/${path}`), 'data-key': path, 'aria-current': on === path ? 'page' : null }, text))),
      h('div', { class: 'buttons' },
        h('button', { type: 'button', 'data-do': 'theme', 'aria-label': `Colours: ${theme()}`, title: `Colours: ${theme()} (d)` }, { auto: '◐', light: '☀', dark: '☾' }[theme()]),
        h('button', { type: 'button', 'data-do': 'help', 'aria-label': 'Keys', title: 'Keys (?)' }, '?'))),
    h('div', { class: 'row second' }, state.view.filtered ? filter() : null, time()));
}

function filter() {
  const problem = Object.values(answers).map((a) => a?.problem ?? a?.error).find((text) => text?.includes('filter'));
  return h('div', { class: `filter${problem ? ' wrong' : ''}` },
    h('input', { id: 'filter', type: 'search', 'data-param': 'filter', value: state.q.get('filter') ?? '', autocomplete: 'off', spellcheck: 'false',
      placeholder: 'Filter: checkout, ok<99, p95>200, route~pay, mtls!=mtls', 'aria-label': 'Filter', 'aria-describedby': 'filter-problem' }),
    h('kbd', { 'aria-hidden': 'true' }, '/'),
    h('span', { id: 'filter-problem', role: 'status' }, problem ? problem.replace(/^bad query: (filter: )?/, '') : ''));
}

const seconds = (text) => {
  let n = 0;
  for (const [, v, unit] of (text ?? '').matchAll(/([\d.]+)(h|m|s)/g)) n += v * { h: 3600, m: 60, s: 1 }[unit];
  return n;
};

function time() {
  const ago = seconds(state.q.get('ago'));
  const window = state.q.get('window') ?? '1m';
  const c = answers.hour?.data;
  return h('div', { class: 'time' }, state.view.compared ? comparison() : null,
    h('label', { class: 'window' }, h('span', null, 'Window'), h('select', { 'data-set': 'window', 'aria-label': 'Window of rates and latencies' },
      [...new Set([...windows, window])].map((w) => h('option', { value: w === '1m' ? '' : w, selected: w === window, 'data-key': w }, w)))),
    h('div', { class: 'scrubber' }, c ? chart.spark(c.rps, 'a') : null,
      h('input', { id: 'scrub', type: 'range', min: -3540, max: 0, step: 30, value: -ago, 'aria-label': 'Look at the past',
        'aria-valuetext': ago ? `${f.span(ago)} ago` : 'now', title: 'Look at the past: [ and ]' })),
    h('button', { type: 'button', class: `when${ago ? ' past' : ''}`, 'data-do': 'set', 'data-arg': 'ago=', title: 'Back to now' },
      h('i', { 'aria-hidden': 'true' }), ago ? `${f.span(ago)} ago` : connected.ok ? 'live' : 'lost'));
}

function comparison() {
  const compare = state.q.get('compare') ?? '';
  const timed = isTime(compare);
  const known = timed || comparisons.some(([value]) => value === compare) ? comparisons : [...comparisons, [compare, `${compare} earlier`]];
  return h('div', { class: 'comparison', 'data-key': 'comparison' },
    h('select', { 'data-set': 'compare', 'aria-label': 'Compare with', title: 'Compare with another window (x)' },
      known.map(([value, text]) => h('option', { value, selected: value === compare, 'data-key': `c${value}` }, text)),
      h('option', { value: timed ? compare : minute(Date.now() - 30 * 60e3), selected: timed, 'data-key': 'time' }, 'a time …')),
    timed ? h('input', { type: 'time', 'data-clock': 'compare', value: f.clock(compare).slice(0, 5), 'aria-label': 'When the other window ended' }) : null);
}

function foot() {
  const command = state.view.command(state);
  return h('footer', { 'data-key': 'foot' }, h('span', null, 'The same in a terminal'), h('code', { id: 'command' }, command),
    h('button', { type: 'button', 'data-do': 'copy', 'data-arg': command }, 'Copy'));
}

// Colours: as the system has them, or as chosen.
const theme = () => document.documentElement.dataset.theme ?? 'auto';
function setTheme(name) {
  if (name === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem('theme', name);
  } catch { /* a browser without storage forgets it */ }
}
try {
  setTheme(localStorage.getItem('theme') ?? 'auto');
} catch { /* likewise */ }

const keys = [['/', 'filter'], ['g then o g s w c b p i l t', 'go to a view'], ['[ ]', 'a minute back, or forward'], ['← ↑ → ↓', 'from node to node'], ['Enter', 'look at a node'],
  ['+ − 0', 'larger, smaller, all'], ['x', 'compare with the window before'], ['e', 'save the graph as SVG'], ['y', 'copy the command'], ['d', 'dark, light, or as the system'], ['Esc', 'close']];

function help() {
  const dialog = h('dialog', { class: 'help', 'aria-label': 'Keys' }, h('h2', null, 'Keys'),
    h('dl', null, keys.map(([k, text]) => [h('dt', null, h('kbd', null, k)), h('dd', null, text)])),
    h('p', null, 'The filter is that of ', h('code', null, 'meshctl viz top'), ': terms with spaces between, all must hold. Numbers: rps ok p50 p95 p99 retry t/o fault limit eject, with < <= > >= = !=. Text: from to route ns mtls, with = != ~ !~. A bare word is found anywhere.'),
    h('form', { method: 'dialog' }, h('button', { class: 'main' }, 'Close')));
  dialog.addEventListener('close', () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function say(text) {
  const toast = h('div', { class: 'toast', role: 'status' }, text);
  document.body.append(toast);
  setTimeout(() => toast.remove(), 2000);
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say('Copied');
  } catch {
    getSelection().selectAllChildren(document.getElementById('command'));
    say('Press Ctrl-C to copy it');
  }
}

const openNamespaces = (name, open) => {
  const g = answers.graph?.data;
  if (g) set({ open: graphView.opened(g, name, open), sel: '' });
};

const acts = {
  sort: (arg) => set({ sort: arg }, true),
  set: (arg) => { const at = arg.indexOf('='); set({ [arg.slice(0, at)]: arg.slice(at + 1) }); },
  select: (arg) => set({ sel: arg === state.q.get('sel') ? '' : arg }, true),
  fold: (arg) => openNamespaces(arg, false),
  unfold: (arg) => openNamespaces(arg, true),
  only: (arg) => set({ failed: arg === 'failed' ? '1' : '', retried: arg === 'retried' ? '1' : '' }),
  zoom: (arg) => graph.zoom(Number(arg)),
  picture: () => { if (graph.save()) say('Saved as mesh.svg'); },
  full: (arg) => (document.fullscreenElement ? document.exitFullscreen() : document.getElementById(arg)?.requestFullscreen()),
  theme: () => { setTheme({ auto: 'dark', dark: 'light', light: 'auto' }[theme()]); draw(); },
  copy, help,
};

document.addEventListener('click', (e) => {
  const act = e.target.closest('[data-do]');
  if (act) {
    acts[act.dataset.do](act.dataset.arg);
    return;
  }
  const a = e.target.closest('a[href]');
  if (!a || e.metaKey || e.ctrlKey || e.shiftKey || a.origin !== location.origin || a.classList.contains('skip')) return;
  e.preventDefault();
  go(a.pathname + a.search);
});

let typing = 0;
document.addEventListener('input', (e) => {
  const { param } = e.target.dataset;
  if (param) {
    clearTimeout(typing);
    typing = setTimeout(() => set({ [param]: e.target.value.trim() }, true), 250);
  }
  if (e.target.id === 'scrub') {
    clearTimeout(typing);
    const ago = -Number(e.target.value);
    typing = setTimeout(() => set({ ago: ago ? `${ago}s` : '' }, true), 120);
  }
});
document.addEventListener('change', (e) => {
  const { set: chosen, clock } = e.target.dataset;
  if (chosen) set({ [chosen]: e.target.value });
  if (clock && e.target.value) set({ [clock]: latest(e.target.value) });
  if (e.target.id === 'scrub') e.target.blur();
});

let leader = 0;
document.addEventListener('keydown', (e) => {
  if (e.metaKey || e.ctrlKey || e.altKey || document.querySelector('dialog[open]')) return;
  const field = /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.nodeName);
  if (e.key === 'Escape') {
    if (field) e.target.blur();
    else if (state.q.get('sel')) set({ sel: '' }, true);
    return;
  }
  if (field) return;
  if (e.key === 'Enter' || e.key === ' ') {
    const act = e.target.closest?.('[role=button][data-do]');
    if (act) {
      e.preventDefault();
      acts[act.dataset.do](act.dataset.arg);
    }
    return;
  }
  if (e.key.startsWith('Arrow')) {
    if (graph.step(e.key)) e.preventDefault();
    return;
  }
  if (Date.now() - leader < 1500) {
    leader = 0;
    const tab = tabs.find(([, , key]) => key === e.key);
    if (tab) go(state.link(`/${tab[0]}`));
    return;
  }
  press(e);
});

function press(e) {
  const ago = seconds(state.q.get('ago'));
  const keyed = {
    g: () => { leader = Date.now(); },
    '/': () => { e.preventDefault(); document.getElementById('filter')?.focus(); },
    x: () => { if (state.view.compared) set({ compare: state.q.get('compare') ? '' : 'before' }); },
    e: acts.picture, '?': help, d: acts.theme, y: () => copy(state.view.command(state)),
    '[': () => set({ ago: `${Math.min(ago + 60, 3540)}s` }, true),
    ']': () => set({ ago: ago > 60 ? `${ago - 60}s` : '' }, true),
    '+': () => graph.zoom(1.3), '-': () => graph.zoom(0.77), 0: () => graph.zoom(0),
  };
  keyed[e.key]?.();
}

document.addEventListener('pointerdown', graph.drag);
document.addEventListener('pointerover', (e) => graph.hover(e.target));
document.addEventListener('focusin', (e) => graph.hover(e.target));
document.addEventListener('pointermove', chart.point);
document.addEventListener('wheel', (e) => {
  if (!e.target.closest?.('#graph') || !(e.ctrlKey || e.metaKey)) return;
  e.preventDefault();
  graph.zoom(Math.exp(-e.deltaY / 300), [e.clientX, e.clientY]);
}, { passive: false });
addEventListener('popstate', show);
addEventListener('resize', later);

api.onConnection((now) => { connected = now; later(); });
show();
