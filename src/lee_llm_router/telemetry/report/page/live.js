// New calls of a page that is served: it asks for what has come since, and goes on asking when the server is away.

const EVERY_MS = 2000;
const LONGEST_MS = 30000;

function followCalls(position, take) {
  const token = new URLSearchParams(location.search).get("token") ?? "";
  let since = position, wait = EVERY_MS, timer = 0;
  const ask = async () => {
    clearTimeout(timer);
    if (document.hidden) return showLive("paused", "Paused");
    try {
      const answer = await fetch(`calls?since=${since}`, { headers: { "X-Report-Token": token }, cache: "no-store", credentials: "omit" });
      if (!answer.ok) throw new Error(String(answer.status));
      const data = await answer.json();
      if (data.restart) return restart();
      since = data.position;
      wait = EVERY_MS;
      showLive("live", "Live");
      if (data.parts.length) take(data.parts);
    } catch {
      wait = Math.min(LONGEST_MS, wait * 2);
      showLive("lost", "Not connected");
    }
    timer = setTimeout(ask, wait);
    return undefined;
  };
  document.addEventListener("visibilitychange", () => document.hidden || ask());
  ask();
}

// Too much has come to be told piece by piece: load the page again, with what is chosen.
function restart() {
  sessionStorage.setItem("chosen", JSON.stringify(chosen));
  location.reload();
}

function chooseAsBefore() {
  const kept = data.live ? sessionStorage.getItem("chosen") : null;
  if (kept === null) return;
  sessionStorage.removeItem("chosen");
  Object.assign(chosen, JSON.parse(kept));
}

function showLive(state, text) {
  const live = byId("live");
  live.hidden = false;
  if (live.dataset.state === state) return;
  live.dataset.state = state;
  live.textContent = text;
}
