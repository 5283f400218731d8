const $ = (id) => document.getElementById(id);

/* The conversation; every answer remembers the model that gave it. It stays in this tab when the page is loaded again. */
let messages = storedMessages();
let answering;
/* What is being written, in case the page is left meanwhile. */
let unfinished;

function stored(name) {
  try {
    return JSON.parse(sessionStorage.getItem(`randlora.${name}`)) ?? undefined;
  } catch {
    return undefined; // of another version
  }
}
function storedMessages() {
  const found = stored("conversation");
  return Array.isArray(found) ? found.filter((message) => typeof message?.content === "string") : [];
}
function store(name, value) {
  try {
    sessionStorage.setItem(`randlora.${name}`, JSON.stringify(value));
  } catch {
    sessionStorage.removeItem(`randlora.${name}`); // too long for the browser
  }
}
addEventListener("pagehide", () => {
  const reply = unfinished?.content ? [{ ...unfinished, note: "stopped" }] : [];
  store("conversation", [...messages, ...reply]);
});

function addArticle(role) {
  const article = element("article");
  article.className = role;
  $("log").append(article);
  return article;
}
function showAll() {
  $("log").replaceChildren();
  for (const message of messages) {
    $("log").querySelector(".retry")?.remove();
    show(message);
  }
  $("empty").hidden = messages.length > 0;
}
function show(message) {
  const article = addArticle(message.role);
  if (message.role === "user") article.append(message.content);
  else {
    draw(article, message);
    finish(article, message);
  }
}
/* The answer's text so far: called with every frame, so it draws only what is new. */
const views = new WeakMap();
function draw(article, { content }) {
  if (!views.has(article)) {
    const body = element("div");
    body.className = "body";
    article.prepend(body);
    views.set(article, new MarkdownView(body));
  }
  views.get(article).draw(content);
}
/* What stands below an answer. */
function finish(article, { content, model, note }) {
  const footer = element("footer", element("span", [model, note].filter(Boolean).join(" · ")));
  if (answering === undefined) {
    // Browsers have no clipboard for pages that come over a network without encryption.
    if (isSecureContext) footer.append(button("Copy", () => navigator.clipboard.writeText(content)));
    if (article === $("log").lastElementChild) {
      footer.append(button("Try again", retry));
      footer.lastElementChild.className = "retry";
    }
  }
  article.querySelector("footer")?.remove();
  article.append(footer);
}
function button(text, onClick) {
  const made = element("button", text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

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
    for (const part of parts) if (part.startsWith("data: {")) yield JSON.parse(part.slice(6));
  }
}

async function ask() {
  const system = $("system").value.trim();
  const reply = { role: "assistant", content: "", model: $("model").value, note: "" };
  const conversation = messages;
  const article = addArticle("assistant");
  let [note, drawn] = ["", false];
  const drawNow = () => {
    drawn = false;
    draw(article, reply);
    follow();
  };
  setAnswering(new AbortController());
  unfinished = reply;
  article.classList.add("busy");
  $("log").setAttribute("aria-busy", "true");
  draw(article, reply);
  finish(article, reply);
  try {
    const body = {
      model: reply.model,
      messages: [
        ...(system === "" ? [] : [{ role: "system", content: system }]),
        ...messages.map(({ role, content }) => ({ role, content })),
      ],
      ...given("temperature", "temperature"),
      ...given("length", "max_tokens"),
      stream: true,
      stream_options: { include_usage: true },
    };
    const response = await api("v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(body),
      signal: answering.signal,
    });
    for await (const { error, choices, usage, timings } of events(response)) {
      if (error !== undefined) throw new Error(error.message);
      if (usage) note = summary(usage, timings);
      const piece = choices[0]?.delta?.content ?? "";
      if (piece === "") continue;
      reply.content += piece;
      if (!drawn) {
        drawn = true;
        requestAnimationFrame(drawNow);
      }
    }
    reply.note = note;
  } catch (error) {
    if (error.name === "AbortError") reply.note = "stopped";
    else $("alert").textContent = error.message;
  }
  setAnswering(undefined);
  unfinished = undefined;
  $("log").removeAttribute("aria-busy");
  if (messages !== conversation) return; // a new one was begun
  if (reply.content !== "") {
    messages.push(reply);
    article.classList.remove("busy");
    draw(article, reply);
    finish(article, reply);
  } else {
    // What got no answer can be put differently.
    const { content } = messages.pop() ?? { content: "" };
    $("message").value ||= content;
    showAll();
  }
  follow();
  $("message").focus();
}
/* Tokens, and the rate by the server's clock: pieces come through the network in heaps. */
function summary({ completion_tokens: tokens }, timings) {
  const rate = timings?.predicted_per_second;
  return `${tokens} tokens` + (rate ? ` · ${rate.toFixed(1)} tokens/s` : "");
}
/* What a field says, for the request; what is left empty is the server's to choose. */
function given(id, name) {
  return $(id).value === "" ? {} : { [name]: Number($(id).value) };
}
function retry() {
  if (answering !== undefined) return;
  messages.pop();
  $("log").lastElementChild.remove();
  $("alert").textContent = "";
  ask();
}
function setAnswering(controller) {
  answering = controller;
  $("stop").hidden = controller === undefined;
  $("send").hidden = controller !== undefined;
}
function follow() {
  const { scrollHeight, scrollTop, clientHeight } = $("scroll");
  if (scrollHeight - scrollTop - clientHeight < 160) $("scroll").scrollTop = scrollHeight;
}
function openSettings(open) {
  $("settings").classList.toggle("open", open);
  $("toggle").setAttribute("aria-expanded", String(open));
}

$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = $("message").value.trim();
  if (content === "" || answering !== undefined) return;
  $("message").value = "";
  $("alert").textContent = "";
  const question = { role: "user", content };
  messages.push(question);
  // Only what is new: screen readers read out what comes into the log.
  $("log").querySelector(".retry")?.remove();
  show(question);
  $("empty").hidden = true;
  $("scroll").scrollTop = $("scroll").scrollHeight;
  ask();
});
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape") answering?.abort();
});
$("stop").addEventListener("click", () => answering?.abort());
$("new").addEventListener("click", () => {
  answering?.abort();
  unfinished = undefined;
  messages = [];
  $("alert").textContent = "";
  showAll();
  $("message").focus();
});
$("toggle").addEventListener("click", () => openSettings(!$("settings").classList.contains("open")));
$("settings").addEventListener("submit", (event) => event.preventDefault());

/* Settings stay in this browser; the key only as long as the tab. */
function remember(id, store) {
  const [field, name] = [$(id), `randlora.${id}`];
  field.value = store.getItem(name) ?? field.value;
  field.addEventListener("input", () => store.setItem(name, field.value));
}
remember("system", localStorage);
remember("temperature", localStorage);
remember("length", localStorage);
remember("key", sessionStorage);
$("key").addEventListener("change", loadModels);

const THEMES = { "": "as the system", light: "light", dark: "dark" };
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").setAttribute("aria-label", `Colors: ${THEMES[theme]}`);
  localStorage.setItem("randlora.theme", theme);
}
setTheme(localStorage.getItem("randlora.theme") ?? "");
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
});

async function loadModels() {
  try {
    const { data, default: usual } = await (await api("v1/models")).json();
    $("model").replaceChildren(
      ...data.map(({ id, parent }) => {
        const option = element("option", parent === null ? id : `${id} (adapter)`);
        option.value = id;
        return option;
      }),
    );
    // What a request means that names no model: the run that is served, where there is one.
    const chosen = stored("model");
    $("model").value = data.some(({ id }) => id === chosen) ? chosen : usual;
    $("alert").textContent = "";
  } catch (error) {
    $("alert").textContent = error.message;
  }
}
$("model").addEventListener("change", () => store("model", $("model").value));

/* A question that got no answer before the page was left is asked again, or put differently. */
if (messages.at(-1)?.role === "user") $("message").value = messages.pop().content;
showAll();
loadModels();
