// Keys, the help that lists them, and the switch between light and dark.

const KEYS = [
  [["/"], "search"], [["j", "↓"], "next call"], [["k", "↑"], "previous call"], [["Enter"], "open the call"],
  [["Esc"], "close it; leave the search"], [["g"], "first call"], [["G"], "last call"], [["x"], "clear all filters"],
  [["t"], "automatic, light or dark"], [["?"], "this list"],
];
const THEMES = { auto: "Automatic", light: "Light", dark: "Dark" };

function buildKeys(change) {
  const moves = {
    j: 1, ArrowDown: 1, k: -1, ArrowUp: -1, PageDown: 12, PageUp: -12,
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || byId("help").open) return;
    const field = event.target.closest?.("input, select, textarea");
    if (event.key === "Escape") return leave(event, field);
    if (field) {
      if (event.key === "Enter" && field.id === "search") move(event, () => { byId("rows").focus(); select(table.selected ?? 0); });
      return undefined;
    }
    const isOnButton = event.target.closest?.("button, a, summary");
    const isReading = event.target.closest?.(".details-body, pre") && event.key.length > 1;
    if (event.key === "/") move(event, () => byId("search").select());
    else if (event.key === "?") move(event, () => byId("help").showModal());
    else if (event.key === "x") move(event, () => clearFilters(change));
    else if (event.key === "t") move(event, nextTheme);
    else if (event.key === "g" || (event.key === "Home" && !isReading)) move(event, () => select(0));
    else if (event.key === "G" || (event.key === "End" && !isReading)) move(event, () => select(table.calls.length - 1));
    else if (event.key in moves && !isReading) move(event, () => select(table.selected === null ? 0 : table.selected + moves[event.key]));
    else if (event.key === "Enter" && !isOnButton && table.selected !== null) move(event, () => select(table.selected, true));
    return undefined;
  });
  byId("help").append(
    make("h2", { id: "help-title" }, "Keys"),
    make("dl", {}, KEYS.map(([keys, text]) => [make("dt", {}, keys.map((key) => make("kbd", {}, key))), make("dd", {}, text)])),
    make("form", { method: "dialog" }, make("button", { class: "plain" }, "Close ", make("kbd", {}, "Esc"))),
  );
  byId("help-button").addEventListener("click", () => byId("help").showModal());
  byId("theme").addEventListener("click", nextTheme);
}

function move(event, step) {
  event.preventDefault();
  step();
}

// Escape leaves what is innermost: the search, then the opened call.
function leave(event, field) {
  if (field) field.blur();
  else if (!byId("details").hidden) closeDetails();
  else return;
  event.preventDefault();
}

// The choice is kept where the browser allows a page from a file to keep anything.
function keptTheme() {
  try {
    return localStorage.getItem("lee-llm-router-theme");
  } catch {
    return null;
  }
}

function showTheme(theme) {
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  byId("theme").replaceChildren(themeIcon(), THEMES[theme]);
  byId("theme").setAttribute("aria-label", `Colours: ${THEMES[theme].toLowerCase()}. Change`);
  byId("theme").dataset.theme = theme;
}

function themeIcon() {
  return draw("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, draw("circle", { cx: 8, cy: 8, r: 6 }), draw("path", { class: "half", d: "M8 2a6 6 0 0 1 0 12Z" }));
}

function nextTheme() {
  const names = Object.keys(THEMES);
  const theme = names[(names.indexOf(byId("theme").dataset.theme) + 1) % names.length];
  showTheme(theme);
  try {
    localStorage.setItem("lee-llm-router-theme", theme);
  } catch {
    // The page works without a memory.
  }
}

function buildTheme() {
  const kept = keptTheme();
  showTheme(kept !== null && kept in THEMES ? kept : "auto");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => showTheme(byId("theme").dataset.theme));
  // Paper is white.
  addEventListener("beforeprint", () => (document.documentElement.dataset.theme = "light"));
  addEventListener("afterprint", () => showTheme(byId("theme").dataset.theme));
}
