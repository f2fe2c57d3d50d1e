// What stands above the table: the numbers and the charts of the calls that are shown.

function showNumbers(sum) {
  const share = (part) => quantile(sum.totals, part);
  const tokens = sum.input === null && sum.output === null ? null : (sum.input ?? 0) + (sum.output ?? 0);
  const span = sum.from === null || sum.to === sum.from ? "" : `over ${longSpan(sum.to - sum.from)}`;
  const rows = [
    ["Calls", sum.calls ? count(sum.calls) : "0", span || plural(sum.attempts, "attempt")],
    ["Error rate", percent(sum.error, sum.calls), `${count(sum.error)} failed`, sum.error > 0 && sum.error / sum.calls >= 0.01],
    ["Saved by fallback", sum.calls ? count(sum.saved) : DASH, `${percent(sum.saved, sum.calls)} of calls`],
    ["Time, p50", duration(share(0.5)), `p95 ${duration(share(0.95))}, p99 ${duration(share(0.99))}`],
    ["First token, p50", duration(quantile(sum.firsts, 0.5)), sum.firsts.length ? `p95 ${duration(quantile(sum.firsts, 0.95))}` : "none reported"],
    ["Tokens", count(tokens), tokens === null ? "none reported" : `${count(sum.input)} in, ${count(sum.output)} out`],
    ["Cost", dollars(sum.cost, sum.unpriced === 0), sum.unpriced ? `unknown for ${plural(sum.unpriced, "call")}` : sum.cost === null ? "none reported" : "US dollars"],
  ];
  byId("numbers").replaceChildren(
    ...rows.map(([title, value, small, isBad]) =>
      make("div", { class: isBad ? "number bad" : "number" }, make("h2", {}, title), make("p", { class: value === DASH ? "none" : null }, value), make("small", { title: small }, small)),
    ),
  );
}

function longSpan(ms) {
  if (ms < 2 * 3600000) return ms < 120000 ? duration(ms) : plural(Math.round(ms / 60000), "minute");
  return ms < 48 * 3600000 ? plural(Math.round(ms / 3600000), "hour") : plural(Math.round(ms / 86400000), "day");
}

function showCharts(calls, older, sum, choose) {
  const area = byId("charts");
  if (!sum.calls) {
    area.replaceChildren();
    return;
  }
  const wide = area.clientWidth > 886 ? (area.clientWidth - 14) / 2 : area.clientWidth;
  const width = Math.max(240, wide - 38);
  const bins = sum.from === null ? null : buckets(calls, older, sum.from, sum.to, Math.min(72, Math.max(20, Math.floor(width / 9))));
  const span = (found) => choose({ span: found });
  area.replaceChildren(
    chart("Calls", bins && callsChart(bins, width, span), STACK.map(([, text, kind]) => [text, swatch(kind)])),
    chart("Time of a call", bins && bins.made.some((bin) => bin.totals.length) && latencyChart(bins, width, span),
      PERCENTILES.map(([, name, kind]) => [name, draw("svg", { viewBox: "0 0 14 10", "aria-hidden": "true" }, draw("path", { class: `line${kind}`, d: "M0 5H14" }))])),
    chart("Failed attempts by type", failureBars(sum, choose), [["ended the call", swatch("error-bar", true)], ["made good by another attempt", failureSwatch()]]),
    chart("Cost by role", costBars(sum, choose), []),
  );
}

function chart(title, content, legend) {
  const keys = content ? legend : [];
  return make("article", { class: "chart" },
    make("header", {}, make("h2", {}, title), keys.length ? make("ul", { class: "legend" }, keys.map(([text, sign]) => make("li", {}, sign, text))) : null),
    content || make("p", { class: "empty" }, title.startsWith("Failed") ? "No attempt has failed." : title.startsWith("Cost") ? "No cost is known, and no tokens were used." : "Nothing to show: no times are known."));
}

function swatch(kind, isHatched = false) {
  const lines = kind === "error-bar" || isHatched ? [3, 7, 11].map((x) => draw("line", { x1: x - 2, x2: x + 2, y1: 10, y2: 0, stroke: "var(--surface)", "stroke-width": "1.2", "stroke-opacity": ".6" })) : [];
  return draw("svg", { viewBox: "0 0 14 10", "aria-hidden": "true" }, draw("rect", { class: kind, width: 14, height: 10, rx: 2 }), lines);
}

function failureSwatch() {
  return draw("svg", { viewBox: "0 0 14 10", "aria-hidden": "true" }, draw("rect", { fill: "var(--error-soft)", width: 14, height: 10, rx: 2 }));
}

function failureBars(sum, choose) {
  const found = [...sum.failures].sort((one, other) => other[1].attempts - one[1].attempts);
  if (!found.length) return null;
  const most = found[0][1].attempts;
  const rows = found.map(([name, { attempts, ended }]) => ({
    name, parts: [["ended", ended / most], ["mended", (attempts - ended) / most]], value: count(attempts), small: ended ? `${count(ended)} ended` : null,
    title: `${name}: ${plural(attempts, "attempt")}, of which ${count(ended)} ended the call`,
  }));
  return make("div", {}, barList(rows, "type", (failure) => choose({ failure })));
}

function costBars(sum, choose) {
  const found = [...sum.roles].filter(([, own]) => own.cost !== null || own.unpriced);
  if (!found.length) return null;
  found.sort((one, other) => (other[1].cost ?? -1) - (one[1].cost ?? -1));
  const most = Math.max(1e-12, ...found.map(([, own]) => own.cost ?? 0));
  const rows = found.map(([name, own]) => ({
    name, parts: [["", (own.cost ?? 0) / most]], value: own.cost === null ? "unknown" : dollars(own.cost, own.unpriced === 0),
    small: own.unpriced ? `${plural(own.unpriced, "call")} unknown` : plural(own.calls, "call"),
    title: own.unpriced ? `${name}: the cost of ${plural(own.unpriced, "call")} of ${count(own.calls)} is not known` : name,
  }));
  return make("div", {}, barList(rows, "role", (role) => choose({ role })));
}
