// Questions to viz. A question is { name, path, params, every | stream | events, seen }: asked once,
// every so many seconds, or as a stream of whole answers (stream) or of single things (events); one
// that is to be seen only while the page is. The parameter at is a time at which a window ended.
// An answer is { data } or { error } or { missing: true }, where this viz has no such thing.

const retryMs = 1000;
const listeners = new Set();
let state = { ok: true, why: '' };

/** onConnection hears whether viz answers, and why not. */
export function onConnection(hear) {
  listeners.add(hear);
}

function connection(ok, why = '') {
  if (ok === state.ok && why === state.why) return;
  state = { ok, why };
  for (const hear of listeners) hear(state);
}

export function address(q) {
  const p = new URLSearchParams();
  for (const [name, value] of Object.entries(q.params ?? {})) {
    if (value === undefined || value === null || value === '') continue;
    if (name === 'at') p.set('ago', `${Math.max(0, Math.round((Date.now() - Date.parse(value)) / 1000))}s`);
    else p.set(name, value);
  }
  const text = p.toString();
  return `/api/${q.path}${text ? `?${text}` : ''}`;
}

const unreachable = 'Viz does not answer. The page goes on by itself once it does.';
const loggedOut = "This browser's session has ended: 'meshctl dashboard' prints a new address.";

async function once(q, signal) {
  let response;
  try {
    response = await fetch(address(q), { signal, cache: 'no-store' });
  } catch (e) {
    if (e.name === 'AbortError') return null;
    return { lost: "The process behind this page does not answer: does 'meshctl dashboard' or " +
      "'meshctl dev up' still run?" };
  }
  if (response.status === 404) return { missing: true };
  if (response.status === 401) return { lost: loggedOut };
  if (response.status === 502) return { lost: unreachable };
  try {
    const data = await response.json();
    return response.ok ? { data } : { error: data.error, busy: response.status === 503 };
  } catch {
    return signal.aborted ? null : { lost: unreachable };
  }
}

/** ask hears the answers to a question until what it returns is called. */
export function ask(q, hear) {
  const control = new AbortController();
  let timer = 0;
  let source = null;
  const again = (ms) => { timer = setTimeout(run, ms); };

  async function run() {
    if (q.seen && document.hidden) {
      document.addEventListener('visibilitychange', run, { once: true, signal: control.signal });
      return;
    }
    const answer = await once(q, control.signal);
    if (!answer || control.signal.aborted) return;
    if (answer.lost) {
      connection(false, answer.lost);
      again(retryMs);
      return;
    }
    connection(true);
    hear(answer);
    if (answer.missing || answer.error) {
      // It may be of a version that comes.
      if (q.every || q.stream) again(answer.busy ? (q.every ?? 1) * retryMs : 30 * retryMs);
      return;
    }
    if (q.stream) follow();
    else if (q.every) again(q.every * 1000);
  }

  function follow() {
    source = new EventSource(address({ ...q, params: { ...q.params, stream: 1 } }));
    source.onmessage = (e) => {
      connection(true);
      hear({ data: JSON.parse(e.data) });
    };
    source.onerror = () => {
      source.close();
      if (!control.signal.aborted) again(retryMs / 4); // asked once, it says what is wrong
    };
  }

  if (q.events) things();
  else run();

  // A stream of single things has no answer that ends: its lines are read as they come.
  async function things() {
    try {
      const response = await fetch(address({ ...q, params: { ...q.params, stream: 1 } }),
        { signal: control.signal });
      if (response.status === 401 || response.status >= 502) {
        connection(false, response.status === 401 ? loggedOut : unreachable);
      } else if (!response.ok) {
        hear(response.status === 404 ? { missing: true } : await response.json());
        return;
      } else {
        connection(true);
        hear({ data: null });
        await lines(response.body, hear);
      }
    } catch {
      if (control.signal.aborted) return;
      connection(false, unreachable);
    }
    if (!control.signal.aborted) timer = setTimeout(things, retryMs);
  }

  return () => {
    control.abort();
    clearTimeout(timer);
    source?.close();
  };
}

// lines reads an answer of lines of JSON.
async function lines(body, hear) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split('\n');
    rest = parts.pop();
    for (const part of parts) if (part) hear({ data: JSON.parse(part) });
  }
}
