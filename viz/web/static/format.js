// Figures as people read them. null and undefined are "–": nothing was measured.

export const none = '–';
const missing = (v) => v === null || v === undefined || Number.isNaN(v);

const short = (v) => {
  if (v >= 1e9) return `${trim(v / 1e9)}G`;
  if (v >= 1e6) return `${trim(v / 1e6)}M`;
  if (v >= 1e4) return `${trim(v / 1e3)}k`;
  return null;
};
const trim = (v) => (v >= 100 ? v.toFixed(0) : v.toFixed(1).replace(/\.0$/, ''));

export function rate(v) {
  if (missing(v)) return none;
  if (v === 0) return '0';
  return short(v) ?? (v >= 100 ? v.toFixed(0) : v >= 1 ? v.toFixed(1) : v.toFixed(2));
}

export const count = (v) => (missing(v) ? none : Math.round(v).toLocaleString('en'));

/** percent never rounds up to 100: whoever reads 100 % shall be right. */
export function percent(v) {
  if (missing(v)) return none;
  const p = v * 100;
  if (p === 100 || p === 0) return `${p} %`;
  return `${(Math.floor(p * 100) / 100).toFixed(p >= 99 ? 2 : 1)} %`;
}

export function ms(v) {
  if (missing(v)) return none;
  if (v >= 10000) return `${(v / 1000).toFixed(0)} s`;
  if (v >= 1000) return `${(v / 1000).toFixed(1)} s`;
  if (v === 0) return '0 ms';
  return v >= 100 ? `${v.toFixed(0)} ms` : v >= 1 ? `${v.toFixed(1)} ms` : `${v.toFixed(2)} ms`;
}

export function bytes(v) {
  if (missing(v)) return none;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (v < 1024 || unit === 'GiB') return `${v >= 100 || unit === 'B' ? v.toFixed(0) : v.toFixed(1)} ${unit}`;
    v /= 1024;
  }
  return none;
}

/** span is a length of time, in seconds. */
export function span(seconds) {
  if (missing(seconds)) return none;
  const v = Math.abs(seconds);
  if (v < 60) return `${Math.round(v)} s`;
  if (v < 3600) return `${Math.round(v / 60)} min`;
  if (v < 86400) return `${(v / 3600).toFixed(v < 36000 ? 1 : 0)} h`;
  return `${Math.round(v / 86400)} d`;
}

export const clock = (date) => new Date(date).toLocaleTimeString('en-GB');

/** health is how something does: good, warn or bad by success, idle where nothing was asked. */
export function health(success) {
  if (missing(success)) return 'idle';
  return success >= 0.99 ? 'good' : success >= 0.95 ? 'warn' : 'bad';
}

/** marks say the same by their shape. */
export const marks = { good: '✓', warn: '▲', bad: '✕', idle: '·' };
export const healthWords = { good: 'well', warn: 'some fail', bad: 'many fail', idle: 'no requests' };
