// All workloads, and all services.

import { h } from '../dom.js';
import * as p from '../parts.js';
import * as objectives from './objectives.js';
import { workloads } from './overview.js';

const list = (kind, words, resource) => ({
  title: () => words,
  filtered: true,
  questions: (s) => [s.live({ name: 'graph', path: 'graph',
    params: { ...s.time(), group: kind, open: '*', most: 2000, filter: s.q.get('filter') } }), objectives.question()],
  command: (s) => `meshctl viz stat ${resource} -A${s.flags()}`,
  view(s, answers) {
    const g = answers.graph?.data;
    if (!g) return h('div', { class: 'view' }, p.waiting(answers.graph, words.toLowerCase()));
    const rows = g.nodes.filter((n) => (kind === 'service' ? n.kind === 'service' : n.kind !== 'service'));
    return h('div', { class: 'view', 'data-key': kind }, h('h1', null, words),
      p.panel('', rows.length ? workloads(s, rows, kind, answers.slo?.data) : p.empty(`There are no ${words.toLowerCase()} in this window.`)));
  },
});

export const workloadList = list('workload', 'Workloads', 'deploy');
export const serviceList = list('service', 'Services', 'svc');
