// The graph as a file that needs no page: what the page's styles say is written into its elements.

import { s } from './dom.js';

// kept are attributes that draw; all else is for the page alone.
const kept = new Set(['d', 'x', 'y', 'dx', 'width', 'height', 'rx', 'cx', 'cy', 'r', 'transform', 'text-anchor', 'id', 'viewBox',
  'refX', 'refY', 'markerWidth', 'markerHeight', 'markerUnits', 'orient', 'marker-end']);

// written are styles, and what they are where nothing says so.
const written = { fill: 'rgb(0, 0, 0)', 'fill-opacity': '1', stroke: 'none', 'stroke-opacity': '1', 'stroke-width': '1px',
  'stroke-dasharray': 'none', 'stroke-linecap': 'butt', 'stroke-linejoin': 'miter', opacity: '1', 'font-size': '', 'font-weight': '400' };

const shapes = new Set(['path', 'rect', 'circle', 'text', 'tspan']);
const left = '.hit, .flow, .fold';

// solid takes a colour's opacity apart: not every program that draws knows rgba().
function solid(out, name, value) {
  const parts = /^rgba\((.*), ([\d.]+)\)$/.exec(value);
  out.setAttribute(name, parts ? `rgb(${parts[1]})` : value);
  if (parts) out.setAttribute(`${name}-opacity`, parts[2]);
}

function style(out, node) {
  const now = getComputedStyle(node);
  for (const [name, usual] of Object.entries(written)) {
    const value = now.getPropertyValue(name);
    if (value === usual || (name.startsWith('font') && !/^t/.test(node.nodeName))) continue;
    if (name === 'fill' || name === 'stroke') solid(out, name, value);
    else if (!out.hasAttribute(name)) out.setAttribute(name, value.replaceAll('px', ''));
  }
}

function copy(node) {
  if (node.nodeType === 3) return document.createTextNode(node.data);
  if (node.nodeType !== 1 || node.matches(left)) return null;
  const drawn = shapes.has(node.nodeName);
  if (drawn && getComputedStyle(node).visibility === 'hidden') return null;
  const out = document.createElementNS(node.namespaceURI, node.nodeName);
  for (const { name, value } of node.attributes) if (kept.has(name)) out.setAttribute(name, value);
  if (drawn) style(out, node);
  out.append(...[...node.childNodes].map(copy).filter(Boolean));
  return out;
}

/** picture is the text of a file with a graph: all of it, whatever part the page shows. */
export function picture(graph, box, ground, title) {
  const [x, y, width, height] = box.map((v) => Math.round(v));
  const out = s('svg', { viewBox: `${x} ${y} ${width} ${height}`, width, height, 'font-family': getComputedStyle(graph).fontFamily });
  out.append(s('title', null, title), s('rect', { x, y, width, height, fill: ground }), ...[...graph.childNodes].map(copy).filter(Boolean));
  return new XMLSerializer().serializeToString(out);
}

/** save has the browser save a file. */
export function save(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
