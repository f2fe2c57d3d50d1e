// Reads the data, and shows it anew whenever what is chosen changes.

const data = block("data");
let texts = null;
const calls = decodeCalls(data, (index) => (texts ??= block("texts"))[index]);
const older = (data.older ?? []).map(([start, span, role, number, error, saved, cut, unfinished, attempts, input, output, cost, unpriced, failures, kept]) => ({
  start, span, role, calls: number, error, saved, cut, unfinished, attempts, input, output, cost, unpriced, failures, kept,
}));

function show() {
  const found = filtered(calls), sums = filteredOlder(older), sum = summarize(found, sums);
  showNumbers(sum);
  showCharts(found, sums, sum, (choice) => choose(choice, changed));
  byId("calls").dataset.all = calls.length;
  showTable(found, calls.length, quantile(sum.totals, 0.95) ?? 1);
  showPeriod();
  showNotes(sums, sum.estimated);
  showNothing();
  return sum;
}

// What is chosen has changed: the table begins anew.
function changed() {
  const sum = show();
  tell(plural(sum.calls, "call"));
}

function showPeriod() {
  const sum = { from: null, to: null };
  for (const { start } of [...older, ...calls]) {
    if (start === null) continue;
    if (sum.from === null || start < sum.from) sum.from = start;
    if (sum.to === null || start > sum.to) sum.to = start;
  }
  const period = sum.from === null ? null : day(sum.from) === day(sum.to) ? `${moment(sum.from)} – ${clock(sum.to)} UTC` : `${day(sum.from)} – ${day(sum.to)} ${new Date(sum.to).getUTCFullYear()}, UTC`;
  const made = data.live ? null : `written ${moment(data.made)}`;
  byId("period").textContent = [period, data.filter ? `only ${shown(data.filter)}` : null, made].filter(Boolean).join("  ·  ");
}

function showNotes(sums, isEstimate) {
  const notes = [];
  const left = older.reduce((sum, cell) => sum + cell.kept, 0);
  if (left) {
    const used = sums.length ? "they count in the numbers and charts, but for the times" : "what is chosen now leaves them out";
    notes.push(`The newest ${whole.format(calls.length)} calls are shown one by one. ${plural(left, "older call")} ${left === 1 ? "is" : "are"} summed up: ${used}.`);
  }
  if (isEstimate) notes.push("All numbers and charts are estimates: good calls were dropped (sample), and those that were kept count for them.");
  if (data.is_cut) notes.push(`Only the newest ${plural(calls.length, "call")} are shown: there are older ones.`);
  if (data.left_out) notes.push(`Messages and answers of ${plural(data.left_out, "call")} are left out: the page holds 30 MB of them.`);
  byId("notes").replaceChildren(...notes.map((text) => make("p", { class: "note" }, text)));
}

function showNothing() {
  const area = byId("nothing");
  if (calls.length) area.replaceChildren(make("strong", {}, "No call is like this"), "Change what is chosen above, or press ", make("kbd", {}, "x"), " to clear it.");
  else if (data.filter) area.replaceChildren(make("strong", {}, "No call is like this"), "The report was made with filters that no call passes.");
  else area.replaceChildren(make("strong", {}, "No calls yet"), data.live ? "They appear here by themselves." : "Make one, and write the report again: ", data.live ? "" : make("code", {}, "lee-llm-router complete \"Hello\""));
}

// Take calls that are new, or have gone on, into a live page. It holds no more than the server does.
function take(parts) {
  const at = new Map(calls.map((call, index) => [call.id, index]));
  for (const call of parts.flatMap((part) => decodeCalls(part, (index) => part.texts[index]))) {
    const known = at.get(call.id);
    if (known === undefined) at.set(call.id, calls.push(call) - 1);
    else calls[known] = call;
  }
  if (calls.length > data.most) {
    calls.sort((one, other) => (other.start ?? 0) - (one.start ?? 0)).splice(data.most);
    data.is_cut = true;
  }
  offerChoices(calls);
  holdInSight(show);
  refreshDetails(table.calls[table.selected]);
}

// Open the call that the address names behind its #.
function openNamed() {
  const at = location.hash.length > 1 ? indexOf(location.hash.slice(1)) : null;
  if (at !== null) select(at, true);
}

chooseAsBefore();
buildTheme();
buildTable((call) => openDetails(call, (by) => select((table.selected ?? 0) + by)));
buildFilters(changed);
buildKeys(changed);
offerChoices(calls);
show();
let width = byId("charts").clientWidth;
new ResizeObserver(() => {
  const now = byId("charts").clientWidth;
  if (now !== width) requestAnimationFrame(show);
  width = now;
}).observe(byId("charts"));
new ResizeObserver(() => document.documentElement.style.setProperty("--bar", `${barHeight()}px`)).observe(byId("filters"));
openNamed();
if (data.live) followCalls(data.position, take);
