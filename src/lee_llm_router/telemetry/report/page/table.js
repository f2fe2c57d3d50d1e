// The table of calls. However many there are, only the rows in sight are elements: each of a fixed number of elements
// shows the calls whose place in the table has the same remainder, so a scrolled line changes one of them.

const ROW_HEIGHT = 36;
const SPARE_ROWS = 8;
const PRINTED_ROWS = 500;
const COLUMNS = [
  ["start", "When, UTC", "", (call) => call.start ?? -1],
  ["role", "Role", "", (call) => call.role],
  ["outcome", "Outcome", "", (call) => `${OUTCOMES.indexOf(call.outcome) === 0 ? kindOf(call) === "ok" ? 0 : 1 : 2}${outcomeText(call)}`],
  ["target", "Target", "", (call) => targetOf(call.provider, call.model)],
  ["course", "Attempts", "", (call) => call.rows.length],
  ["total", "Time", "right", (call) => call.total],
  ["first", "First token", "right", (call) => call.first ?? -1],
  ["tokens", "Tokens in → out", "right", (call) => call.tokens ?? (call.input ?? 0) + (call.output ?? 0) - (call.input === null && call.output === null ? 1 : 0)],
  ["cost", "Cost", "right", (call) => call.cost ?? -1],
];
const table = { calls: [], pool: [], selected: null, sort: "start", falls: true, body: null, axis: 1, open: null, printing: false };

function buildTable(open) {
  table.open = open;
  const head = make("div", { class: "row head", role: "row", "aria-rowindex": "1" });
  for (const [name, title, side] of COLUMNS) {
    head.append(make("div", { class: side, role: "columnheader", id: `column-${name}` }, make("button", { type: "button", onclick: () => sortBy(name) }, title)));
  }
  table.body = make("div", { id: "rows", class: "body", role: "rowgroup", tabindex: "0", "aria-label": "Calls: arrows move, Enter opens" });
  table.body.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (row) select(Number(row.dataset.at), true);
  });
  const grid = make("div", { role: "grid", id: "grid", "aria-label": "Calls" }, head, table.body);
  byId("calls").append(make("div", { class: "calls-head" }, make("h2", {}, "Calls"), make("p", { id: "shown-calls" })), grid, make("div", { id: "nothing", class: "nothing", hidden: true }));
  let waiting = false;
  const soon = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      showRows();
    });
  };
  addEventListener("scroll", soon, { passive: true });
  addEventListener("resize", soon);
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
}

function print(printing) {
  table.printing = printing;
  table.pool.length = 0;
  table.body.replaceChildren();
  showRows();
}

// Show `calls`; the one that is selected stays so, if it is among them.
function showTable(calls, all, axis = table.axis) {
  table.axis = Math.max(1, axis);
  const held = table.calls[table.selected];
  table.calls = sorted(calls);
  table.selected = held === undefined ? null : indexOf(held.id);
  byId("grid").setAttribute("aria-rowcount", calls.length + 1);
  byId("shown-calls").textContent = calls.length === all ? plural(all, "call") : `${whole.format(calls.length)} of ${plural(all, "call")}`;
  byId("nothing").hidden = calls.length > 0;
  byId("grid").hidden = calls.length === 0;
  for (const [name] of COLUMNS) {
    const cell = byId(`column-${name}`);
    if (name === table.sort) cell.setAttribute("aria-sort", table.falls ? "descending" : "ascending");
    else cell.removeAttribute("aria-sort");
    cell.firstChild.textContent = COLUMNS.find((column) => column[0] === name)[1] + (name === table.sort ? (table.falls ? " ↓" : " ↑") : "");
  }
  for (const row of table.pool) row.call = null;
  table.body.style.height = `${calls.length * ROW_HEIGHT}px`;
  showRows();
}

// Show what `change` makes of the calls, with those in sight where they are: new calls above push nothing away.
function holdInSight(change) {
  const top = table.body.getBoundingClientRect().top;
  const at = Math.ceil((barHeight() + 34 - top) / ROW_HEIGHT), seen = table.calls[at];
  change();
  const now = seen === undefined || at <= 0 ? null : indexOf(seen.id);
  if (now === null) return;
  scrollBy(0, table.body.getBoundingClientRect().top - top + (now - at) * ROW_HEIGHT);
  showRows();
}

function indexOf(id) {
  const at = table.calls.findIndex((call) => call.id === id);
  return at < 0 ? null : at;
}

function sorted(calls) {
  const value = COLUMNS.find((column) => column[0] === table.sort)[3];
  const keys = calls.map((call, at) => [value(call), at]);
  const isText = keys.length > 0 && typeof keys[0][0] === "string";
  const compare = isText ? (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0) : (a, b) => a[0] - b[0];
  keys.sort((a, b) => (table.falls ? compare(b, a) : compare(a, b)) || a[1] - b[1]);
  return keys.map(([, at]) => calls[at]);
}

function sortBy(name) {
  const isText = ["role", "target"].includes(name);
  table.falls = table.sort === name ? !table.falls : !isText;
  table.sort = name;
  showTable(table.calls, Number(byId("calls").dataset.all));
  tell(`Sorted by ${name}, ${table.falls ? "descending" : "ascending"}`);
}

function showRows() {
  const number = table.calls.length, body = table.body;
  const top = body.getBoundingClientRect().top;
  const seen = Math.ceil(innerHeight / ROW_HEIGHT) + 2 * SPARE_ROWS;
  const size = table.printing ? Math.min(number, PRINTED_ROWS) : Math.min(number, seen);
  const first = table.printing ? 0 : Math.max(0, Math.min(number - size, Math.floor(-top / ROW_HEIGHT) - SPARE_ROWS));
  while (table.pool.length < size) {
    table.pool.push(newRow());
    body.append(table.pool.at(-1).element);
  }
  for (const row of table.pool.splice(size)) row.element.remove();
  for (let at = first; at < first + size; at += 1) showRow(table.pool[at % size], at);
}

function newRow() {
  const cells = ["when", "role", "", "target", "course", "right", "right", "right", "right"].map((kind) => make("div", { class: kind, role: "gridcell" }));
  const [when, role, outcome, target, course, total, first, tokens, cost] = cells;
  const parts = {
    day: make("small"), clock: make("b"), mark: make("span"), path: draw("path"), outcome: make("span"), provider: make("small"),
    model: make("span"), tried: make("span", { class: "tried" }), role, course, total, first, tokens, cost,
  };
  when.append(parts.day, parts.clock);
  parts.mark.append(draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, parts.path), parts.outcome);
  outcome.append(parts.mark);
  target.append(parts.provider, parts.model, parts.tried);
  return { element: make("div", { class: "row", role: "row" }, cells), parts, call: null, at: null };
}

function showRow(row, at) {
  const call = table.calls[at], { element } = row, isChosen = at === table.selected;
  if (row.at !== at) {
    row.at = at;
    element.id = `row-${at}`;
    element.dataset.at = at;
    element.style.transform = `translateY(${at * ROW_HEIGHT}px)`;
    element.setAttribute("aria-rowindex", at + 2);
  }
  if (row.call !== call) {
    row.call = call;
    showCall(row.parts, call);
  }
  element.classList.toggle("chosen", isChosen);
  element.setAttribute("aria-selected", isChosen);
}

function showCall(parts, call) {
  const kind = kindOf(call);
  const put = (element, text) => {
    element.textContent = text;
    element.classList.toggle("dim", text === DASH);
  };
  parts.day.textContent = call.start === null ? "" : day(call.start);
  parts.clock.textContent = call.start === null ? DASH : clock(call.start);
  parts.role.textContent = shown(call.role);
  parts.mark.className = `outcome ${kind}`;
  parts.mark.title = outcomeTitle(call);
  parts.path.setAttribute("d", ICONS[kind]);
  parts.outcome.textContent = shown(outcomeText(call));
  parts.provider.textContent = call.provider === null ? DASH : shown(call.provider) + (call.model === null ? "" : "/");
  parts.model.textContent = shown(call.model ?? "");
  parts.tried.hidden = call.tried < 2;
  parts.tried.textContent = `${call.tried} tried`;
  parts.course.replaceChildren(...course(call));
  put(parts.total, duration(call.total));
  put(parts.first, duration(call.first));
  put(parts.tokens, call.input === null && call.output === null ? count(call.tokens) : `${count(call.input)} → ${count(call.output)}`);
  put(parts.cost, dollars(call.cost, call.costWhole));
}

// The attempts of a call in small: a bar each, on one axis for all calls. The few that are longer are drawn to its end.
function course(call) {
  const end = Math.max(table.axis, call.total);
  return call.rows.slice(0, 12).filter((row) => row[0] !== null).map((row) => {
    const from = Math.min(0.98, (row[4] || 0) / end), outcome = call.names[row[7]];
    return place(make("i", { class: outcome === "ok" ? "" : outcome === "cancelled" ? "cancelled" : "bad" }), from, Math.max(0, Math.min(1 - from, (row[5] || 0) / end)));
  });
}

// The height of what sticks to the top of the window.
function barHeight() {
  const bar = byId("filters");
  return getComputedStyle(bar).position === "sticky" ? bar.offsetHeight : 0;
}

// Select the call at `at`, bring it into sight, and open it if wanted or if one is open.
function select(at, isOpened = false) {
  if (!table.calls.length) return;
  table.selected = Math.max(0, Math.min(table.calls.length - 1, at));
  const top = table.body.getBoundingClientRect().top + table.selected * ROW_HEIGHT;
  const above = barHeight() + 34 + 4, below = innerHeight - ROW_HEIGHT - 8;
  if (top < above) scrollBy(0, top - above);
  else if (top > below) scrollBy(0, top - below);
  showRows();
  table.body.setAttribute("aria-activedescendant", `row-${table.selected}`);
  if (isOpened || !byId("details").hidden) table.open(table.calls[table.selected]);
}
