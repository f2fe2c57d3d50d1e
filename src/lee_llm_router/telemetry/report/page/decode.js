// Rows of the page's data as objects. What stands where in a row is said in `call_rows.py`.

const OUTCOMES = ["ok", "error", "cancelled", "unfinished"];
const WORDS = {
  ok: "answered", saved: "saved by a fallback", cut: "cut at its limit", error: "failed", cancelled: "cancelled", unfinished: "unfinished",
};

function block(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// Decode `data`; `textOf(i)` returns what was captured of the call with texts number i.
function decodeCalls(data, textOf) {
  const names = data.names;
  const name = (index) => (index === null || index === undefined ? null : names[index]);
  return data.calls.map((row) => ({
    id: row[0], start: row[1], role: name(row[2]), outcome: OUTCOMES[row[3]],
    saved: (row[4] & 1) > 0, cut: (row[4] & 2) > 0, stream: (row[4] & 4) > 0, costWhole: (row[4] & 8) > 0,
    finish: name(row[5]), provider: name(row[6]), model: name(row[7]), tried: row[8], total: row[9], first: row[10],
    input: row[11], output: row[12], tokens: row[13], cost: row[14], failure: name(row[15]), metadata: name(row[16]),
    policy: name(row[17]), asked: name(row[18]), operation: name(row[19]),
    rows: row[21], behind: row[22] ?? 1, raw: row, names, text: row[20] === null ? null : () => textOf(row[20]), lowTexts: null,
  }));
}

function decodeAttempts(call) {
  const name = (index) => (index === null || index === undefined ? null : call.names[index]);
  const known = (value) => (value === undefined ? null : value);
  return call.rows.map((row) => ({
    number: known(row[0]), provider: name(row[1]), model: name(row[2]), served: name(row[3]), offset: row[4] || 0,
    elapsed: row[5] || 0, first: known(row[6]), outcome: name(row[7]), verdict: name(row[8]), failure: name(row[9]),
    status: known(row[10]), error: name(row[11]), wait: row[12] || 0, waitedFor: name(row[13]), reason: name(row[14]),
    finish: name(row[15]), input: known(row[16]), output: known(row[17]), cached: known(row[18]),
    reasoning: known(row[19]), cost: known(row[20]), source: name(row[21]), tier: name(row[22]),
    retryAfter: known(row[23]), vendorId: name(row[24]), dropped: name(row[25]), sent: row[26] === 1,
  }));
}

// What a call is shown as: one word, though it may be cut and saved at once.
function kindOf(call) {
  if (call.outcome !== "ok") return call.outcome;
  return call.cut ? "cut" : call.saved ? "saved" : "ok";
}

function targetOf(provider, model) {
  if (provider === null) return DASH;
  return model === null ? provider : `${provider}/${model}`;
}

const SAID_OF_CALL = [2, 5, 6, 7, 15, 16, 17, 18, 19];
const SAID_OF_ATTEMPT = [1, 2, 3, 9, 11, 13, 14, 15, 24];

// Whether a call says `word`, in lower case, anywhere. Each name is looked at once, not for each call that has it.
function wordFinder(word) {
  const found = new Map();
  const hitsOf = (names) => {
    if (!found.has(names)) found.set(names, Uint8Array.from(names, (name) => name.toLowerCase().includes(word)));
    return found.get(names);
  };
  return (call) => {
    const hits = hitsOf(call.names);
    const says = (row, places) => places.some((at) => row[at] !== null && row[at] !== undefined && hits[row[at]]);
    if (call.id.toLowerCase().includes(word) || WORDS[kindOf(call)].includes(word) || says(call.raw, SAID_OF_CALL)) return true;
    return call.rows.some((row) => says(row, SAID_OF_ATTEMPT)) || (call.text !== null && lowTextsOf(call).includes(word));
  };
}

function lowTextsOf(call) {
  call.lowTexts ??= textsWithin(call.text()).toLowerCase();
  return call.lowTexts;
}

function textsWithin(value) {
  if (typeof value === "string") return value;
  if (value === null || typeof value !== "object") return "";
  return Object.values(value).map(textsWithin).join("\n");
}
