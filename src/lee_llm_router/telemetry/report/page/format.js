// Numbers, times and outside text as people read them. Times are UTC, as everywhere in traces.

const DASH = "–";
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const whole = new Intl.NumberFormat("en-US");

function plural(number, one, many = one + "s") {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

function duration(ms) {
  if (ms === null) return DASH;
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 9995) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 99950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${two(seconds % 60)} s`;
  if (seconds >= 48 * 3600) return `${whole.format(Math.floor(seconds / 86400))} d ${Math.floor(seconds / 3600) % 24} h`;
  return `${whole.format(Math.floor(seconds / 3600))} h ${two(Math.floor(seconds / 60) % 60)} m`;
}

function count(number) {
  if (number === null) return DASH;
  if (number < 10000) return whole.format(number);
  for (const [size, unit] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (number >= size * 0.99995) {
      const scaled = number / size;
      return `${scaled < 100 ? scaled.toFixed(1) : whole.format(Math.round(scaled))}${unit}`;
    }
  }
  return whole.format(number);
}

// Dollars with as many digits as it takes to see the amount; a lower bound where the cost of some of it is unknown.
function dollars(amount, isWhole = true) {
  if (amount === null) return DASH;
  let text = "$0";
  if (amount >= 1e7) text = `$${count(amount)}`;
  else if (amount >= 1000) text = `$${whole.format(Math.round(amount))}`;
  else if (amount >= 1) text = `$${amount.toFixed(2)}`;
  else if (amount >= 0.01) text = `$${amount.toFixed(4)}`;
  else if (amount >= 1e-7) text = `$${Number(amount.toPrecision(2)).toFixed(Math.min(9, 1 - Math.floor(Math.log10(amount))))}`;
  else if (amount > 0) text = "< $0.0000001";
  return isWhole ? text : `≥ ${text}`;
}

function percent(part, all) {
  if (!all) return DASH;
  const share = (100 * part) / all;
  if (part === 0) return "0%";
  if (share < 0.1) return "< 0.1%";
  return share < 10 ? `${share.toFixed(1)}%` : `${Math.round(share)}%`;
}

function two(number) {
  return String(number).padStart(2, "0");
}

function day(ms) {
  const date = new Date(ms);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

function clock(ms, withSeconds = true) {
  const date = new Date(ms);
  const text = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  return withSeconds ? `${text}:${two(date.getUTCSeconds())}` : text;
}

function moment(ms) {
  return `${day(ms)} ${new Date(ms).getUTCFullYear()}, ${clock(ms)}`;
}

// What would move a cursor or turn the direction of text, were it obeyed, is shown by its number; lone halves too.
const OBEYED = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

function shown(text) {
  return String(text).replaceAll("\r\n", "\n").replace(OBEYED, (found) => {
    const code = found.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
