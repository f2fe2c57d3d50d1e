// Elements of the page. Text goes in as text alone: no string here is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";
const ICONS = {
  ok: "M3 8.5 6.5 12 13 4.5",
  saved: "M2.5 4v3.5a2 2 0 0 0 2 2h8M9.5 6.5l3 3-3 3",
  cut: "M2.5 5.5h7M2.5 10.5h7M13 3v10",
  error: "M4 4l8 8M12 4l-8 8",
  cancelled: "M3.9 3.9l8.2 8.2M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2",
  unfinished: "M3 8h.01M8 8h.01M13 8h.01",
};

function byId(id) {
  return document.getElementById(id);
}

// Children may be elements or texts; null is left out. Attributes that are null are not set.
function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function icon(kind) {
  return draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, draw("path", { d: ICONS[kind] }));
}

// Place `element` at a share of its parent's width. Set by script, since the page's policy allows no style attribute.
function place(element, left, width) {
  element.style.left = `${(100 * left).toFixed(3)}%`;
  if (width !== undefined) element.style.width = `${(100 * width).toFixed(3)}%`;
  return element;
}

function outcomeMark(call) {
  const kind = kindOf(call);
  return make("span", { class: `outcome ${kind}`, title: outcomeTitle(call) }, icon(kind), make("span", {}, shown(outcomeText(call))));
}

function outcomeText(call) {
  const kind = kindOf(call);
  if (kind === "error") return call.failure ?? "failed";
  if (kind === "saved") return "ok, by fallback";
  if (kind === "cut") return "ok (length)";
  if (kind === "ok") return call.finish === null || call.finish === "stop" || call.finish === "" ? "ok" : `ok (${call.finish})`;
  return kind;
}

function outcomeTitle(call) {
  return shown(call.saved && call.cut ? `${WORDS.saved}, ${WORDS.cut}` : WORDS[kindOf(call)]);
}

// Show `text` beside the pointer.
function showTip(text, x, y) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - box.width - 6))}px`;
  tip.style.top = `${Math.max(6, y + box.height + 24 > innerHeight ? y - box.height - 12 : y + 16)}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}

// Say `text` to those who hear the page.
function tell(text) {
  byId("told").textContent = text;
}
