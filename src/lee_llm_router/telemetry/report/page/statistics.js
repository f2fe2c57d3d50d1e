// What many calls say together.

// The value below which the share of the sorted numbers lies: one of them, as the command `trace stats` has it.
function quantile(sorted, share) {
  if (!sorted.length) return null;
  // What rounding adds to a sum must not lead to the next number.
  if (sorted.sums) return sorted[sorted.sums.findIndex((sum) => sum >= share * sorted.sums.at(-1) * (1 - 1e-12))];
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
}

// Each number with how many it stands for; where that is not one, `sums` has how many there are up to each.
function sortedNumbers(pairs) {
  if (pairs.every(([, behind]) => behind === 1)) return Float64Array.from(pairs, ([value]) => value).sort();
  pairs.sort((one, other) => one[0] - other[0]);
  const sorted = Float64Array.from(pairs, ([value]) => value);
  let sum = 0;
  sorted.sums = Float64Array.from(pairs, ([, behind]) => (sum += behind));
  return sorted;
}

// How many calls the numbers are of.
function lengthOf(sorted) {
  return sorted.sums ? Math.round(sorted.sums.at(-1)) : sorted.length;
}

function roundAll(sums, names) {
  for (const name of names) if (sums[name] !== null) sums[name] = Math.round(sums[name]);
}

function summarize(calls, older) {
  const sum = { estimated: false, calls: 0, error: 0, saved: 0, cut: 0, attempts: 0, input: null, output: null, cost: null, unpriced: 0, from: null, to: null };
  const totals = [], firsts = [], roles = new Map(), failures = new Map();
  for (const call of calls) {
    const behind = call.behind;
    if (behind !== 1) sum.estimated = true;
    sum.calls += behind;
    if (call.outcome === "error" || call.outcome === "cancelled") sum.error += behind;
    if (call.saved) sum.saved += behind;
    if (call.cut) sum.cut += behind;
    if (call.outcome !== "unfinished") totals.push([call.total, behind]);
    if (call.first !== null) firsts.push([call.first, behind]);
    addKnown(sum, "input", call.input, behind);
    addKnown(sum, "output", call.output, behind);
    addCost(sum, roles, call.role, call.cost === null ? null : call.cost * behind, call.costWhole ? 0 : behind, behind);
    if (call.start !== null) {
      if (sum.from === null || call.start < sum.from) sum.from = call.start;
      if (sum.to === null || call.start > sum.to) sum.to = call.start;
    }
    countFailures(sum, failures, call);
  }
  for (const cell of older) addOlder(sum, roles, failures, cell);
  roundAll(sum, ["calls", "error", "saved", "cut", "attempts", "input", "output", "unpriced"]);
  for (const own of roles.values()) roundAll(own, ["calls", "unpriced"]);
  for (const own of failures.values()) roundAll(own, ["attempts", "ended"]);
  return { ...sum, totals: sortedNumbers(totals), firsts: sortedNumbers(firsts), roles, failures };
}

function addKnown(sum, name, value, times = 1) {
  if (value !== null) sum[name] = (sum[name] ?? 0) + value * times;
}

function addCost(sum, roles, role, cost, unpriced, calls) {
  let own = roles.get(role);
  if (own === undefined) roles.set(role, (own = { cost: null, unpriced: 0, calls: 0 }));
  own.calls += calls;
  for (const one of [sum, own]) {
    addKnown(one, "cost", cost);
    one.unpriced += unpriced;
  }
}

// Attempts that failed, by type, and how many of them ended their call.
function countFailures(sum, failures, call) {
  const last = call.rows.length - 1;
  call.rows.forEach((row, at) => {
    if (row[0] !== null && row[0] !== undefined) sum.attempts += call.behind;
    const type = row[9] === null || row[9] === undefined ? null : call.names[row[9]];
    if (type !== null) addFailure(failures, type, call.behind, at === last && call.outcome !== "unfinished" ? call.behind : 0);
  });
}

function addFailure(failures, type, attempts, ended) {
  let own = failures.get(type);
  if (own === undefined) failures.set(type, (own = { attempts: 0, ended: 0 }));
  own.attempts += attempts;
  own.ended += ended;
}

// Calls that are no rows of their own, summed up by hour or day: see `older_calls.py`.
function addOlder(sum, roles, failures, cell) {
  if (cell.kept !== cell.calls) sum.estimated = true;
  sum.calls += cell.calls;
  sum.error += cell.error;
  sum.saved += cell.saved;
  sum.cut += cell.cut;
  sum.attempts += cell.attempts;
  addKnown(sum, "input", cell.input);
  addKnown(sum, "output", cell.output);
  addCost(sum, roles, cell.role, cell.cost, cell.unpriced, cell.calls);
  if (sum.from === null || cell.start < sum.from) sum.from = cell.start;
  if (sum.to === null || cell.start > sum.to) sum.to = cell.start;
  for (const [type, attempts, ended] of cell.failures) addFailure(failures, type, attempts, ended);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400, 30 * 86400, 90 * 86400, 365 * 86400];

// The buckets of a time line: at most `most` of equal length, each beginning at a round time.
function buckets(calls, older, from, to, most) {
  if (to - from < 30000) [from, to] = [(from + to) / 2 - 15000, (from + to) / 2 + 15000];
  const smallest = older.length ? Math.max(...older.map((cell) => cell.span)) : 1000;
  const steps = STEPS.map((seconds) => seconds * 1000);
  const step = steps.find((ms) => ms >= smallest && (to - from) / ms < most - 1) ?? Math.ceil((to - from) / (most - 1));
  const begin = Math.floor(from / step) * step;
  const made = Array.from({ length: Math.floor((to - begin) / step) + 1 }, (_, at) => ({
    start: begin + at * step, end: begin + (at + 1) * step, ok: 0, saved: 0, error: 0, other: 0, totals: [],
  }));
  for (const call of calls) {
    if (call.start === null) continue;
    const own = made[Math.floor((call.start - begin) / step)];
    if (call.outcome === "ok") own[call.saved ? "saved" : "ok"] += call.behind;
    else own[call.outcome === "unfinished" ? "other" : "error"] += call.behind;
    if (call.outcome !== "unfinished") own.totals.push([call.total, call.behind]);
  }
  for (const cell of older) {
    const own = made[Math.floor((cell.start - begin) / step)];
    own.saved += cell.saved;
    own.error += cell.error;
    own.other += cell.unfinished;
    own.ok += cell.calls - cell.saved - cell.error - cell.unfinished;
  }
  for (const own of made) {
    own.totals = sortedNumbers(own.totals);
    roundAll(own, ["ok", "saved", "error", "other"]);
    own.calls = own.ok + own.saved + own.error + own.other;
  }
  return { step, made };
}
