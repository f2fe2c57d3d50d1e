// Which calls are shown: what is chosen above the table, and a span of time chosen in a chart.

const STATUSES = [
  ["ok", "Answered"], ["error", "Failed"], ["saved", "Saved by a fallback"], ["cut", "Cut at the limit"], ["unfinished", "Unfinished"],
];
const chosen = { text: "", role: "", provider: "", model: "", status: "", failure: "", span: null };
const CHOICES = [
  ["role", "All roles", (call) => [call.role]],
  ["provider", "All providers", (call) => call.rows.map((row) => call.names[row[1]])],
  ["model", "All models", (call) => call.rows.flatMap((row) => [call.names[row[2]], call.names[row[3]]])],
  ["status", "Any outcome", null],
  ["failure", "Any failure", (call) => call.rows.map((row) => call.names[row[9]])],
];

function hasStatus(call, status) {
  if (status === "ok") return call.outcome === "ok";
  if (status === "error") return call.outcome === "error" || call.outcome === "cancelled";
  return status === "unfinished" ? call.outcome === "unfinished" : call[status];
}

function passes(call, words) {
  if (chosen.role && call.role !== chosen.role) return false;
  if (chosen.status && !hasStatus(call, chosen.status)) return false;
  if (chosen.span && (call.start === null || call.start < chosen.span[0] || call.start >= chosen.span[1])) return false;
  for (const name of ["provider", "model", "failure"]) {
    if (chosen[name] && !choiceOf(name)[2](call).includes(chosen[name])) return false;
  }
  return words.every((finds) => finds(call));
}

function choiceOf(name) {
  return CHOICES.find((choice) => choice[0] === name);
}

// All words of a search must be found, in any order; a text in quotes is one word.
function searchWords() {
  return [...chosen.text.toLowerCase().matchAll(/"([^"]+)"|\S+/g)].map((found) => found[1] ?? found[0]);
}

function filtered(calls) {
  const words = searchWords().map(wordFinder);
  return isOpen() ? calls.slice() : calls.filter((call) => passes(call, words));
}

function isOpen() {
  return chosen.span === null && CHOICES.every(([name]) => !chosen[name]) && !chosen.text.trim();
}

// Older calls are sums by role and time: they stay only where nothing else is asked for.
function filteredOlder(older) {
  if (chosen.provider || chosen.model || chosen.status || chosen.failure || chosen.text.trim()) return [];
  const inSpan = (cell) => !chosen.span || (cell.start >= chosen.span[0] && cell.start + cell.span <= chosen.span[1]);
  return older.filter((cell) => (!chosen.role || cell.role === chosen.role) && inSpan(cell));
}

function buildFilters(change) {
  const search = byId("search");
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => choose({ text: search.value }, change), 90);
  });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const [name, all] of CHOICES) {
    const select = make("select", { id: `choose-${name}`, "aria-label": all, onchange: () => choose({ [name]: select.value }, change) });
    byId("selects").append(select);
  }
  byId("selects").addEventListener("click", (event) => event.target.closest("#span-chip") && choose({ span: null }, change));
  byId("reset").addEventListener("click", () => clearFilters(change));
}

function choose(choice, change) {
  Object.assign(chosen, choice);
  showFilters();
  change();
}

function clearFilters(change) {
  choose({ text: "", role: "", provider: "", model: "", status: "", failure: "", span: null }, change);
}

// Offer what the calls have; what is chosen stays on offer.
function offerChoices(calls) {
  for (const [name, all, valuesOf] of CHOICES) {
    const select = byId(`choose-${name}`);
    let options = STATUSES;
    if (valuesOf !== null) {
      const found = new Set(calls.flatMap(valuesOf).filter((value) => value !== null && value !== undefined));
      if (chosen[name]) found.add(chosen[name]);
      options = [...found].sort().slice(0, 500).map((value) => [value, value]);
    }
    const known = [...select.options].slice(1).map((option) => option.value);
    if (select.options.length && known.length === options.length && options.every(([value], at) => value === known[at])) continue;
    select.replaceChildren(make("option", { value: "" }, all), ...options.map(([value, text]) => make("option", { value }, shown(text))));
  }
  showFilters();
}

function showFilters() {
  const search = byId("search");
  if (search.value !== chosen.text) search.value = chosen.text;
  for (const [name] of CHOICES) {
    const select = byId(`choose-${name}`);
    select.value = chosen[name];
    select.classList.toggle("set", Boolean(chosen[name]));
  }
  byId("span-chip")?.remove();
  if (chosen.span) {
    const [from, to] = chosen.span;
    const end = day(from) === day(to) ? clock(to) : `${day(to)} ${clock(to)}`;
    const text = `${day(from)} ${clock(from)} – ${end}`;
    byId("selects").append(
      make("button", { id: "span-chip", class: "chip", type: "button", "aria-label": `Time: ${text}. Clear` }, text, make("span", { "aria-hidden": "true" }, "×")),
    );
  }
  byId("reset").hidden = isOpen();
}
