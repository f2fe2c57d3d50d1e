// One call, opened at the side: its facts, its waterfall, and what was captured.

let opener = null;
let openedCall = null;

function openDetails(call, step) {
  const panel = byId("details"), wasHidden = panel.hidden;
  if (wasHidden) opener = document.activeElement;
  openedCall = call;
  panel.replaceChildren(detailsHead(call, step), detailsBody(call));
  panel.hidden = false;
  if (wasHidden) {
    panel.tabIndex = -1;
    panel.focus({ preventScroll: true });
  }
  history.replaceState(null, "", `#${call.id}`);
}

// Show an opened call again, if it has gone on since.
function refreshDetails(call) {
  const panel = byId("details");
  if (panel.hidden || call === undefined || call === openedCall || call.id !== openedCall.id) return;
  const before = panel.querySelector(".details-body"), hadFocus = before.contains(document.activeElement);
  const after = detailsBody(call);
  openedCall = call;
  panel.querySelector(".outcome").replaceWith(outcomeMark(call));
  const place = before.scrollTop;
  before.replaceWith(after);
  after.scrollTop = place;
  if (hadFocus) after.focus({ preventScroll: true });
}

function closeDetails() {
  const panel = byId("details");
  if (panel.hidden) return;
  panel.hidden = true;
  panel.replaceChildren();
  history.replaceState(null, "", location.pathname + location.search);
  (opener && opener.isConnected ? opener : byId("rows"))?.focus({ preventScroll: true });
}

function detailsHead(call, step) {
  return make("div", { class: "details-head" },
    make("h2", { id: "details-title" }, shown(call.role)), outcomeMark(call),
    make("button", { type: "button", class: "plain", "aria-label": "Previous call", onclick: () => step(-1) }, "↑ ", make("kbd", {}, "k")),
    make("button", { type: "button", class: "plain", "aria-label": "Next call", onclick: () => step(1) }, "↓ ", make("kbd", {}, "j")),
    make("button", { type: "button", class: "plain", "aria-label": "Close", onclick: closeDetails }, make("kbd", {}, "Esc")));
}

function detailsBody(call) {
  const body = make("div", { class: "details-body", tabindex: "0" }, facts(call), make("h3", {}, "What happened"), waterfall(call));
  if (call.metadata) body.append(make("h3", {}, "Metadata"), make("div", { class: "message" }, make("pre", { class: "code" }, shown(pretty(call.metadata)))));
  const captured = call.text === null ? null : call.text();
  if (captured) body.append(...conversation(captured));
  return body;
}

function facts(call) {
  const tokens = call.input === null && call.output === null ? count(call.tokens) : `${count(call.input)} → ${count(call.output)}`;
  const rows = [
    ["Began", call.start === null ? DASH : moment(call.start), call.start === null ? null : "UTC"],
    ["Time", duration(call.total), call.first === null ? null : `first token ${duration(call.first)}`],
    ["Tokens, in → out", tokens, "of all attempts"],
    ["Cost", dollars(call.cost, call.costWhole), call.cost === null ? "unknown" : call.costWhole ? null : "of a part it is unknown"],
    ["Answered by", call.outcome === "ok" ? targetOf(call.provider, call.model) : DASH, `${plural(call.tried, "target")} asked`],
    ["Policy", call.policy ?? DASH], ["Kind", [call.operation ?? "chat", call.stream ? "streamed" : null].filter(Boolean).join(", ")],
    call.asked === null ? null : ["Role asked", call.asked, `there is none: ${call.role} took its place`],
    ["Id", call.id, null, true],
  ].filter(Boolean);
  return make("dl", { class: "facts" }, rows.map(([title, value, small, isWide]) =>
    make("div", { class: isWide ? "wide" : null }, make("dt", {}, title), make("dd", {}, shown(value), small ? make("small", {}, shown(small)) : null))));
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function conversation(captured) {
  const made = [];
  const messages = Array.isArray(captured.messages) ? captured.messages : [];
  if (messages.length) made.push(make("h3", {}, "Messages"), ...messages.map((one) => message(String(one?.role ?? "message"), null, bodyOf(one))));
  const answers = Array.isArray(captured.answers) ? captured.answers : [];
  for (const answer of answers) {
    const of = answers.length > 1 ? `attempt ${answer.at + 1}` : null;
    if (made.length === 0 || !made.some((one) => one.textContent === "Answer")) made.push(make("h3", {}, "Answer"));
    if (answer.reasoning) made.push(message("reasoning", of, answer.reasoning));
    if (answer.text) made.push(message("answer", of, answer.text, "answer"));
    for (const call of answer.tool_calls ?? []) made.push(message(`calls ${call?.name ?? "a tool"}`, of, pretty(String(call?.arguments ?? "")), "answer", true));
  }
  for (const [title, value] of [["Tools offered", captured.tools], ["Settings", captured.settings]]) {
    if (value && Object.keys(value).length) made.push(make("h3", {}, title), make("div", { class: "message" }, make("pre", { class: "code" }, shown(JSON.stringify(value, null, 2)))));
  }
  return made;
}

function message(who, small, text, kind = "", isCode = false) {
  const looksLikeJson = /^\s*[[{]/.test(text) && pretty(text) !== text;
  return make("div", { class: `message ${kind}` }, make("h4", {}, shown(who), small ? make("small", {}, small) : null),
    make("pre", { class: isCode || looksLikeJson ? "code" : null, tabindex: text.length > 1500 ? "0" : null }, shown(looksLikeJson ? pretty(text) : text)));
}

// The text of a message. What is no text (a picture, a file) is named, not shown.
function bodyOf(one) {
  const parts = [];
  if (typeof one?.content === "string") parts.push(one.content);
  else if (Array.isArray(one?.content)) parts.push(...one.content.map(partText));
  else if (one?.content) parts.push(JSON.stringify(one.content, null, 2));
  for (const call of Array.isArray(one?.tool_calls) ? one.tool_calls : []) parts.push(`calls ${call?.function?.name ?? call?.name ?? "a tool"}\n${pretty(String(call?.function?.arguments ?? call?.arguments ?? ""))}`);
  return parts.join("\n\n") || "(empty)";
}

function partText(part) {
  if (typeof part === "string") return part;
  if (typeof part?.text === "string") return part.text;
  return `[${part?.type ?? "part"}]`;
}
