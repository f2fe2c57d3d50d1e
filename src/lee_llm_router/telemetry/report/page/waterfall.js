// The attempts of a call on one axis of time: what was asked, why, what it waited for, and how each ended.

const NEXT = { retry: "then tried here again", next: "then went to the next target", raise: "ended the call", return: "gave the answer" };

function waterfall(call) {
  const attempts = decodeAttempts(call);
  const end = Math.max(1, call.total, ...attempts.map((one) => one.offset + (one.number === null ? 0 : one.elapsed)));
  const lanes = [];
  let before = null;
  for (const one of attempts) {
    lanes.push(lane(one, before, end));
    if (one.number !== null) before = one;
  }
  const waits = attempts.some((one, at) => at > 0 && waitBefore(one, attempts[at - 1]) > 0) || attempts[0].offset > end * 0.01;
  const keys = [
    attempts.some((one) => one.first !== null) ? "bold mark: first token" : null,
    waits ? "dotted line: waiting" : null,
    attempts.some((one) => one.outcome === "error") ? "hatched: failed" : null,
  ].filter(Boolean);
  return [axis(end), make("ol", {}, lanes), keys.length ? make("p", { class: "wait-key" }, keys.map((text) => make("span", {}, text))) : null];
}

function axis(end) {
  const scale = make("div", {});
  for (const share of [0, 0.25, 0.5, 0.75, 1]) scale.append(place(make("span", {}, share ? duration(end * share) : "0"), share));
  return make("div", { class: "axis", "aria-hidden": "true" }, make("span", { hidden: true }), make("div", {}), scale, make("div", {}));
}

function waitBefore(one, before) {
  return before === null ? one.offset : Math.max(0, one.offset - before.offset - before.elapsed);
}

function lane(one, before, end) {
  const wait = waitBefore(one, before), track = make("div", { class: "track", "aria-hidden": "true" });
  const from = before === null ? 0 : before.offset + before.elapsed;
  if (wait > end * 0.002) track.append(place(make("i", { class: "wait" }), from / end, wait / end));
  const took = one.number === null ? 0 : one.elapsed;
  const kind = ["ok", "error", "cancelled", "skipped"].includes(one.outcome) ? one.outcome : "error";
  if (one.number !== null || kind === "skipped") track.append(place(make("i", { class: kind }), Math.min(one.offset / end, 0.996), took / end));
  if (one.first !== null) track.append(place(make("i", { class: "first" }), Math.min(0.997, (one.offset + one.first) / end)));
  const target = targetOf(one.provider, one.model);
  const name = make("div", { class: "name", title: shown(target) }, make("small", {}, one.number === null ? "–" : String(one.number + 1)), shown(one.provider === null ? "no target" : target));
  const head = make("div", { class: "lane-row" }, name, track, make("div", { class: "took" }, one.number === null ? "" : duration(one.elapsed)));
  return make("li", { class: "lane" }, head, make("div", { class: "told" }, told(one, wait, end, before === null)));
}

// What there is to say of an attempt, a line each.
function told(one, wait, end, isFirst) {
  const lines = [];
  if (one.reason) lines.push(make("p", {}, shown(one.reason)));
  if (wait > end * 0.002 && wait >= 1) lines.push(make("p", { class: "small" }, waitLine(one, wait, isFirst)));
  if (one.outcome === "ok") lines.push(make("p", {}, answerLine(one)));
  else lines.push(make("p", { class: one.outcome === "error" ? "failure" : null }, make("b", {}, shown([one.failure ?? one.outcome, one.status].filter((part) => part !== null).join(" "))), one.error ? ` ${shown(one.error)}` : ""));
  const rest = [
    one.outcome === "ok" ? null : NEXT[one.verdict] ?? one.verdict,
    one.wait > 0 ? `a wait of ${duration(one.wait)} followed` : null,
    one.retryAfter !== null ? `the vendor asked to wait ${one.retryAfter} s` : null,
    one.first !== null ? `first token after ${duration(one.first)}` : null,
    one.outcome === "ok" ? null : tokenText(one), one.outcome === "ok" ? null : costText(one),
    one.served && one.served !== one.model ? `served by ${one.served}` : null,
    one.tier ? `tier ${one.tier}` : null, one.dropped ? `left out: ${one.dropped}` : null,
    one.vendorId ? `vendor's id ${one.vendorId}` : null,
    one.number !== null && !one.sent ? "nothing was sent" : null,
  ].filter((text) => text);
  if (rest.length) lines.push(make("p", { class: "small" }, shown(rest.join("; "))));
  return lines;
}

// Before the first attempt a call may have prepared itself; it waits only for what is named.
function waitLine(one, wait, isFirst) {
  if (one.waitedFor) return `waited ${duration(wait)} for ${shown(one.waitedFor)}`;
  return isFirst ? `began after ${duration(wait)}` : `waited ${duration(wait)}`;
}

function answerLine(one) {
  return shown(["answered", one.finish && one.finish !== "stop" ? `(${one.finish})` : null, tokenText(one) ? `with ${tokenText(one)}` : null, costText(one) ? `for ${costText(one)}` : null].filter(Boolean).join(" "));
}

function tokenText(one) {
  if (one.input === null && one.output === null) return null;
  const details = [one.cached ? `${count(one.cached)} cached` : null, one.reasoning ? `${count(one.reasoning)} reasoning` : null].filter(Boolean);
  return `${count(one.input)} ${one.input === 1 ? "token" : "tokens"} in, ${count(one.output)} out${details.length ? ` (${details.join(", ")})` : ""}`;
}

function costText(one) {
  if (one.cost === null) return one.input === null ? null : "an unknown cost";
  return `${dollars(one.cost)}${one.source ? ` (${one.source})` : ""}`;
}
