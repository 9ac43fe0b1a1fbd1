// Elements from plain calls, and the change of one tree into another. Text is always a text node.

const SVG = 'http://www.w3.org/2000/svg';

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false)
    .map((c) => (c instanceof Node ? c : document.createTextNode(String(c)))));
  return node;
}

/** h makes an HTML element. */
export const h = (tag, attributes, ...children) =>
  build(document.createElement(tag), attributes, children);

/** s makes an SVG element. */
export const s = (tag, attributes, ...children) =>
  build(document.createElementNS(SVG, tag), attributes, children);

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute('data-key') : null);

const alike = (a, b) =>
  a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

/**
 * morph changes a tree into another one of the same kind, and touches only what differs, so that
 * focus, selection, and what the pointer is over stay. Children with data-key are known by it.
 * What has data-keep is left alone.
 */
export function morph(old, next) {
  if (old.nodeType !== 1) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (old.hasAttribute('data-keep')) return;
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (old.nodeName === 'SELECT' || old.nodeName === 'INPUT') {
    if (document.activeElement === old) return;
    if (old.nodeName === 'INPUT' && old.value !== next.value) old.value = next.value;
  }
  const { value } = next; // a select's is gone once its options are
  children(old, next);
  if (old.nodeName === 'SELECT') old.value = value; // what the user has chosen before outlives attributes
}

function children(old, next) {
  const keyed = new Map();
  for (const child of old.childNodes) {
    const key = keyOf(child);
    if (key !== null) keyed.set(key, child);
  }
  let at = old.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = keyOf(wanted);
    const found = key === null ? at : keyed.get(key);
    if (!found || !alike(found, wanted)) {
      old.insertBefore(wanted, at);
      continue;
    }
    if (found === at) at = at.nextSibling;
    else old.insertBefore(found, at);
    morph(found, wanted);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** paint shows a tree in a place, whose only child it is. */
export function paint(place, tree) {
  const focused = document.activeElement;
  const old = place.firstElementChild;
  if (old && place.childNodes.length === 1 && alike(old, tree)) morph(old, tree);
  else place.replaceChildren(tree);
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}
