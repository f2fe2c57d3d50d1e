// The two charts over time, and the two lists of bars. Each says in words, to those who do not see it, what it shows.

const PLOT = { height: 158, left: 44, right: 6, top: 8, bottom: 20 };

// Round values for an axis from 0 to `most`: three to five lines.
function ticks(most, isDuration) {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  let step = (isDuration ? [1, 2, 2.5, 5, 10] : [1, 2, 5, 10]).map((factor) => factor * power).find((size) => size >= rough);
  if (isDuration && most > 180000) step = [60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400, 2 * 86400, 5 * 86400].map((s) => s * 1000).find((size) => size >= rough) ?? step;
  if (!isDuration) step = Math.max(1, step);
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, at) => at * step);
}

function axisDuration(ms) {
  if (ms === 0) return "0";
  if (ms < 1000) return `${+ms.toFixed(1)} ms`;
  if (ms < 180000) return `${+(ms / 1000).toFixed(1)} s`;
  if (ms < 7200000) return `${Math.round(ms / 60000)} m`;
  return ms < 48 * 3600000 ? `${+(ms / 3600000).toFixed(1)} h` : `${count(Math.round(ms / 86400000))} d`;
}

// A frame for a chart over time: scales, grid and the times below. `most` is the highest value.
function frame(title, bins, width, most, isDuration) {
  const svg = draw("svg", { class: "plot", viewBox: `0 0 ${width} ${PLOT.height}`, role: "img", "aria-label": title });
  const inner = width - PLOT.left - PLOT.right, low = PLOT.height - PLOT.bottom, high = PLOT.top;
  const from = bins.made[0].start, to = bins.made.at(-1).end;
  const x = (ms) => PLOT.left + (inner * (ms - from)) / (to - from);
  const marks = ticks(most, isDuration);
  const top = Math.max(most, marks.at(-1)) * 1.04;
  const y = (value) => low - ((low - high) * value) / top;
  for (const mark of marks) {
    svg.append(
      draw("line", { class: mark ? "grid" : "grid zero", x1: PLOT.left, x2: width - PLOT.right, y1: Math.round(y(mark)), y2: Math.round(y(mark)) }),
      draw("text", { x: PLOT.left - 8, y: y(mark) + 4, "text-anchor": "end" }, isDuration ? axisDuration(mark) : count(mark)),
    );
  }
  svg.append(...timeMarks(bins, x, from, to, inner));
  return { svg, x, y, low, high };
}

function timeMarks(bins, x, from, to, inner) {
  const wanted = Math.max(2, Math.floor(inner / 96));
  const steps = STEPS.map((seconds) => seconds * 1000);
  const step = steps.find((ms) => (to - from) / ms <= wanted) ?? steps.at(-1) * Math.ceil((to - from) / steps.at(-1) / wanted);
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
    const isDay = at % 86400000 === 0;
    const text = step >= 86400000 || (isDay && to - from > 86400000) ? day(at) : clock(at, step < 60000);
    const place = Math.min(Math.max(x(at), PLOT.left + 16), PLOT.left + inner - 16);
    if (!found.length || place - found.at(-1).place > 58) found.push({ place, text });
  }
  return found.map((mark) => draw("text", { x: mark.place, y: PLOT.height - 4, "text-anchor": "middle" }, mark.text));
}

function spanText(bin) {
  const isDays = bin.end - bin.start >= 86400000;
  if (isDays) return bin.end - bin.start === 86400000 ? day(bin.start) : `${day(bin.start)} – ${day(bin.end - 1)}`;
  return `${day(bin.start)}, ${clock(bin.start, bin.end - bin.start < 60000)} – ${clock(bin.end, bin.end - bin.start < 60000)}`;
}

// Show what lies under the pointer; a drag over the chart, or a click on a bucket, chooses its span of time.
function follow(plot, bins, textOf, choose) {
  const { svg, x, low, high } = plot;
  const hot = draw("rect", { class: "hot", y: high, height: low - high, visibility: "hidden" });
  const drag = draw("rect", { class: "drag", y: high, height: low - high, visibility: "hidden" });
  svg.prepend(hot);
  svg.append(drag);
  svg.classList.add("drags");
  let begun = null;
  const binAt = (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) * svg.viewBox.baseVal.width) / box.width;
    const share = (at - x(bins.made[0].start)) / (x(bins.made.at(-1).end) - x(bins.made[0].start));
    return Math.min(bins.made.length - 1, Math.max(0, Math.floor(share * bins.made.length)));
  };
  const cover = (rect, one, other) => {
    const [first, last] = [bins.made[Math.min(one, other)], bins.made[Math.max(one, other)]];
    rect.setAttribute("x", x(first.start));
    rect.setAttribute("width", x(last.end) - x(first.start));
    rect.setAttribute("visibility", "visible");
  };
  svg.addEventListener("pointermove", (event) => {
    const at = binAt(event);
    cover(hot, at, at);
    if (begun !== null) cover(drag, begun, at);
    showTip(textOf(bins.made[at]), event.clientX, event.clientY);
  });
  svg.addEventListener("pointerleave", () => {
    hot.setAttribute("visibility", "hidden");
    if (begun === null) hideTip();
  });
  svg.addEventListener("pointerdown", (event) => {
    begun = binAt(event);
    svg.setPointerCapture(event.pointerId);
    cover(drag, begun, begun);
  });
  svg.addEventListener("pointerup", (event) => {
    if (begun === null) return;
    const [one, other] = [begun, binAt(event)].sort((a, b) => a - b);
    begun = null;
    hideTip();
    choose([bins.made[one].start, bins.made[other].end]);
  });
  svg.addEventListener("pointercancel", () => {
    begun = null;
    drag.setAttribute("visibility", "hidden");
  });
}

const STACK = [["ok", "answered", "ok-bar"], ["saved", "saved by a fallback", "saved-bar"], ["error", "failed", "error-bar"]];

function callsChart(bins, width, choose) {
  const most = Math.max(1, ...bins.made.map((bin) => bin.calls));
  const failed = bins.made.reduce((sum, bin) => sum + bin.error, 0);
  const all = bins.made.reduce((sum, bin) => sum + bin.calls, 0);
  const busiest = bins.made.find((bin) => bin.calls === most);
  const title = `Calls over time: ${plural(all, "call")}, ${count(failed)} failed. Most of them, ${count(most)}, ${busiest ? spanText(busiest) : ""}.`;
  const plot = frame(title, bins, width, most, false);
  for (const bin of bins.made) {
    const left = plot.x(bin.start), wide = plot.x(bin.end) - left, gap = wide > 5 ? 1.5 : wide > 3 ? 1 : 0;
    let height = 0;
    for (const [name, , kind] of STACK) {
      const number = bin[name] + (name === "ok" ? bin.other : 0);
      if (!number) continue;
      const top = plot.y(height + number), tall = Math.max(1, plot.y(height) - top);
      plot.svg.append(draw("rect", { class: kind, x: left + gap / 2, y: top, width: Math.max(1, wide - gap), height: tall, rx: Math.min(1.5, tall / 2) }));
      if (name === "error") plot.svg.append(...hatch(left + gap / 2, top, Math.max(1, wide - gap), tall));
      height += number;
    }
  }
  const told = (bin) => [spanText(bin), plural(bin.calls, "call"), `${count(bin.error)} failed`, `${count(bin.saved)} saved by a fallback`].join("\n");
  follow(plot, bins, told, choose);
  return plot.svg;
}

// Lines over what failed, so that colour is not its only sign.
function hatch(left, top, width, height) {
  if (width < 5 || height < 5) return [];
  const lines = Math.min(40, Math.floor(height / 4));
  return Array.from({ length: lines }, (_, at) => {
    const y = top + 4 * (at + 1);
    return draw("line", { class: "hatch", x1: left, x2: left + width, y1: y, y2: Math.max(top, y - 4) });
  });
}

const PERCENTILES = [[0.5, "p50", ""], [0.95, "p95", " high"]];

function latencyChart(bins, width, choose) {
  const known = bins.made.filter((bin) => bin.totals.length);
  const most = Math.max(1, ...known.map((bin) => quantile(bin.totals, 0.95)));
  const title = `Latency over time: the median lies between ${duration(Math.min(...known.map((bin) => quantile(bin.totals, 0.5))))} and ${duration(Math.max(...known.map((bin) => quantile(bin.totals, 0.5))))}; of 20 calls one took up to ${duration(most)}.`;
  const plot = frame(title, bins, width, most, true);
  const points = known.map((bin) => ({ x: plot.x((bin.start + bin.end) / 2), bin }));
  if (points.length > 1) {
    const up = points.map(({ x, bin }) => `${x},${plot.y(quantile(bin.totals, 0.95))}`);
    const down = points.map(({ x, bin }) => `${x},${plot.y(quantile(bin.totals, 0.5))}`);
    plot.svg.append(draw("path", { class: "band", d: `M${up.join("L")}L${down.reverse().join("L")}Z` }));
  }
  for (const [share, , kind] of PERCENTILES) {
    const path = points.map(({ x, bin }) => `${x.toFixed(1)},${plot.y(quantile(bin.totals, share)).toFixed(1)}`);
    plot.svg.append(draw("path", { class: `line${kind}`, d: `M${path.join("L")}` }));
    if (points.length < 30) {
      plot.svg.append(...points.map(({ x, bin }) => draw("circle", { class: `dot${kind}`, cx: x, cy: plot.y(quantile(bin.totals, share)), r: 2.5 })));
    }
  }
  const told = (bin) =>
    bin.totals.length
      ? [spanText(bin), plural(lengthOf(bin.totals), "call"), ...PERCENTILES.map(([share, name]) => `${name} ${duration(quantile(bin.totals, share))}`)].join("\n")
      : `${spanText(bin)}\nno calls`;
  follow(plot, bins, told, choose);
  return plot.svg;
}

// Rows of a name, a bar and a value; a click chooses the name. `parts` are the bar's pieces: [class, share of the whole].
function barList(rows, kind, choose) {
  const list = make("div", { class: "bars" });
  for (const { name, parts, value, small, title } of rows.slice(0, 6)) {
    const bar = make("span", { class: "bar", "aria-hidden": "true" });
    for (const [part, share] of parts) if (share > 0) bar.append(place(make("i", { class: part }), 0, share));
    list.append(
      make("button", { type: "button", title: shown(title), onclick: () => choose(name) },
        make("span", { class: "label" }, shown(name)), bar,
        make("span", { class: "value" }, value, small ? make("small", {}, ` ${small}`) : null)),
    );
  }
  const rest = rows.length - 6;
  return [list, rest > 0 ? make("p", { class: "more" }, `and ${plural(rest, kind)} more`) : null];
}
