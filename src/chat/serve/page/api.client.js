const $ = (id) => document.getElementById(id);

async function api(path, options = {}) {
  const key = $("key").value;
  const headers = {
    "content-type": "application/json",
    ...(key === "" ? {} : { authorization: `Bearer ${key}` }),
  };
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  if (response.status === 401) {
    openSettings(true);
    $("key").focus();
  }
  throw new Error(error?.message ?? `the server answered with ${response.status}`);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (held + value).split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      // A comment, which other clients pass over.
      const place = /^: place (\d+)$/.exec(part)?.[1];
      if (place !== undefined) yield { place: Number(place), choices: [] };
      else if (part.startsWith("data: {")) yield JSON.parse(part.slice(6));
    }
  }
}

/* Where a request stands while others have the server's slots. */
function waiting(place) {
  const before =
    place === 1 ? "this request is next" : `${place - 1} ${place === 2 ? "request" : "requests"} before this one`;
  return `the server is busy: ${before}`;
}

/* Tokens, and the rate by the server's clock: pieces come through the network in heaps. */
function summary({ completion_tokens: tokens }, timings) {
  const rate = timings?.predicted_per_second;
  return `${tokens} tokens` + (rate ? ` · ${rate.toFixed(1)} tokens/s` : "");
}

/* Fields of the settings that a request has, and what it calls them. */
const NAMES = { temperature: "temperature", "top-k": "top_k", "top-p": "top_p", seed: "seed", length: "max_tokens" };
const FIELDS = Object.keys(NAMES);

/* What the fields say; what is left empty is the server's to choose. */
function given() {
  const filled = FIELDS.filter((id) => $(id).value !== "");
  return Object.fromEntries(filled.map((id) => [NAMES[id], Number($(id).value)]));
}

/* Empty fields show the numbers in force. */
async function showDefaults() {
  const { params } = (await (await api("v1/props")).json()).default_generation_settings;
  for (const id of ["temperature", "top-k", "top-p"]) $(id).placeholder = params[NAMES[id]];
  if (params.n_predict > 0) $("length").placeholder = params.n_predict;
}

function openSettings(open) {
  $("settings").classList.toggle("open", open);
  $("toggle").setAttribute("aria-expanded", String(open));
}

$("toggle").addEventListener("click", () => openSettings(!$("settings").classList.contains("open")));
$("settings").addEventListener("submit", (event) => event.preventDefault());

/* Settings stay in this browser; the key only as long as the tab. */
function remember(id, store) {
  const [field, name] = [$(id), `randlora.${id}`];
  field.value = store.getItem(name) ?? field.value;
  field.addEventListener("input", () => store.setItem(name, field.value));
}
remember("system", localStorage);
for (const id of FIELDS) remember(id, localStorage);
remember("key", sessionStorage);

const THEMES = { "": "as the system", light: "light", dark: "dark" };
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-label", `Colors: ${THEMES[theme]}`);
}
setTheme(localStorage.getItem("randlora.theme") ?? "");
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const theme = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
  setTheme(theme);
  localStorage.setItem("randlora.theme", theme);
});

// For the other part of the page's script, chat.client.js.
Object.assign(globalThis, { $, api, events, given, openSettings, showDefaults, waiting, summary });
