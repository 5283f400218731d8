/* The conversation; every answer remembers the model that gave it. A tab that is loaded again has the same one. */
let chat = readChat(sessionStorage.getItem("randlora.chat") ?? "") ?? newChat();
let answering;
/* What is being written, in case the page is left meanwhile. */
let unfinished;

/* Keeps the conversation with what is being written: as one of its own, where another tab has gone on with it meanwhile. */
function keep() {
  if (keptElsewhere(chat) !== undefined) {
    chat.id = newChat().id;
    sessionStorage.setItem("randlora.chat", chat.id);
  }
  const updated = Date.now();
  const reply = unfinished?.content || unfinished?.reasoning ? [{ ...unfinished, note: "stopped" }] : [];
  const isKept = writeChat({ ...chat, updated, messages: [...chat.messages, ...reply] });
  // Where it is not, what was kept of it before is no other tab's.
  if (isKept) chat.updated = updated;
  listChats();
  if (!isKept)
    $("alert").textContent = "The browser has no room for this conversation: it is lost when the page is closed.";
}
/* Requests end with the page, as an error: what is kept stays as it was when the page was left. */
addEventListener("pagehide", () => {
  if (unfinished !== undefined) keep();
  chat = { ...chat };
});
addEventListener("pageshow", ({ persisted }) => {
  if (persisted) openChat(readChat(chat.id) ?? newChat());
});

function addArticle(role) {
  const article = element("article");
  article.className = role;
  $("log").append(article);
  return article;
}
function showAll() {
  $("log").replaceChildren();
  for (const message of chat.messages) {
    $("log").querySelector(".retry")?.remove();
    show(message);
  }
  $("empty").hidden = chat.messages.length > 0;
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
function draw(article, { content, reasoning }) {
  if (!views.has(article)) {
    const body = element("div");
    body.className = "body";
    article.prepend(body);
    views.set(article, new MarkdownView(body));
  }
  if (reasoning) drawThought(article, reasoning);
  views.get(article).draw(content);
  markEnd(article);
}
/* The element that the text ends in: there the cursor stands while it is written. */
function markEnd(article) {
  for (const marked of article.querySelectorAll(".end")) marked.classList.remove("end");
  let end = article.querySelector(".body");
  while (end.lastChild instanceof Element) end = end.lastChild;
  end.classList.add("end");
}
/* What a model thought before it answered: folded, until somebody opens it. */
function drawThought(article, reasoning) {
  let thought = article.querySelector("details");
  if (thought === null) {
    thought = element("details", element("summary", "Reasoning"), element("div"));
    article.prepend(thought);
  }
  thought.lastElementChild.textContent = reasoning;
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

async function ask() {
  const system = $("system").value.trim();
  const reply = { role: "assistant", content: "", model: $("model").value, note: "" };
  const conversation = chat;
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
        ...chat.messages.map(({ role, content }) => ({ role, content })),
      ],
      ...given(),
      stream: true,
      stream_options: { include_usage: true },
    };
    const response = await api("v1/chat/completions", {
      method: "POST",
      body: JSON.stringify(body),
      signal: answering.signal,
    });
    for await (const { error, choices, usage, timings, place } of events(response)) {
      if (error !== undefined) throw new Error(error.message);
      if (place !== undefined) finish(article, { ...reply, note: waiting(place) });
      if (usage) note = summary(usage, timings);
      const { content: piece = "", reasoning_content: thought = "" } = choices[0]?.delta ?? {};
      if (piece === "" && thought === "") continue;
      if (reply.content === "") finish(article, reply);
      reply.content += piece;
      if (thought !== "") reply.reasoning = (reply.reasoning ?? "") + thought;
      if (!drawn) {
        drawn = true;
        requestAnimationFrame(drawNow);
      }
    }
    reply.note = note;
  } catch (error) {
    reply.note = "stopped";
    if (error.name !== "AbortError") $("alert").textContent = error.message;
  }
  setAnswering(undefined);
  unfinished = undefined;
  $("log").removeAttribute("aria-busy");
  if (chat !== conversation) return showAll(); // another one was opened
  if (reply.content !== "" || reply.reasoning) {
    chat.messages.push(reply);
    keep();
    article.classList.remove("busy");
    draw(article, reply);
    finish(article, reply);
  } else {
    // What got no answer can be put differently.
    const { content } = chat.messages.pop() ?? { content: "" };
    if (chat.messages.length === 0) removeChat(chat.id);
    else keep();
    listChats();
    $("message").value ||= content;
    showAll();
  }
  follow();
  $("message").focus();
}
function retry() {
  if (answering !== undefined) return;
  chat.messages.pop();
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
$("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const content = $("message").value.trim();
  if (content === "" || answering !== undefined) return;
  $("message").value = "";
  $("alert").textContent = "";
  const question = { role: "user", content };
  chat.messages.push(question);
  keep();
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
/* Escape stops an answer, and closes what is open where none is written. */
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.isComposing) return;
  if (answering !== undefined) return answering.abort();
  openSettings(false);
  openChats(false);
});
$("stop").addEventListener("click", () => answering?.abort());
/* Opens a conversation in the place of the one that is shown, which keeps what there is of an answer. */
function openChat(other) {
  if (unfinished !== undefined) keep();
  answering?.abort();
  unfinished = undefined;
  chat = other;
  sessionStorage.setItem("randlora.chat", chat.id);
  $("alert").textContent = "";
  // A question that got no answer before it was left is asked again, or put differently.
  if (chat.messages.at(-1)?.role === "user") $("message").value = chat.messages.pop().content;
  showAll();
  listChats();
}
/* All conversations; the open one with what can be done to it. */
function listChats() {
  const items = readChats().map((kept) => {
    const isOpen = kept.id === chat.id;
    const opener = button(titleOf(kept), () => {
      if (kept.id !== chat.id) openChat(readChat(kept.id) ?? newChat());
      $("message").focus();
    });
    opener.className = "title";
    if (isOpen) opener.setAttribute("aria-current", "true");
    return element("li", opener, ...(isOpen ? [actions()] : []));
  });
  $("list").replaceChildren(...items);
  $("none").hidden = items.length > 0;
}
function actions() {
  const rename = () => {
    const title = prompt("Name of this chat", titleOf(chat));
    if (title === null) return;
    chat.title = title.trim();
    keep();
  };
  const remove = () => {
    if (!confirm("Delete this chat?")) return;
    const { id } = chat;
    openChat(newChat());
    removeChat(id);
    listChats();
  };
  const made = element(
    "div",
    button("Rename", rename),
    button("Export", () => exportChat(chat)),
    button("Delete", remove),
  );
  made.className = "actions";
  return made;
}
$("new").addEventListener("click", () => {
  openChat(newChat());
  $("message").focus();
});
function openChats(open) {
  $("chats").hidden = !open;
  $("kept").setAttribute("aria-expanded", String(open));
}
$("kept").addEventListener("click", () => openChats($("chats").hidden));
// Another tab has kept or deleted one; the one that is open here goes on as it was kept, once it is answered there.
addEventListener("storage", () => {
  const kept = keptElsewhere(chat);
  if (kept !== undefined && answering === undefined && kept.messages.at(-1)?.role !== "user") {
    chat = kept;
    showAll();
  }
  listChats();
});
$("log").addEventListener("click", async ({ target }) => {
  if (!target.matches("button.copy")) return;
  await navigator.clipboard.writeText(target.parentElement.querySelector("code").textContent);
  target.textContent = "Copied";
  setTimeout(() => (target.textContent = "Copy code"), 2000);
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
    const chosen = sessionStorage.getItem("randlora.model");
    $("model").value = data.some(({ id }) => id === chosen) ? chosen : usual;
    nameModel();
    await showDefaults();
    $("alert").textContent = "";
  } catch (error) {
    $("alert").textContent = error.message;
  }
}
$("model").addEventListener("change", () => {
  sessionStorage.setItem("randlora.model", $("model").value);
  nameModel();
});
function nameModel() {
  $("named").textContent = `${$("model").selectedOptions[0]?.textContent ?? ""}.`;
}

$("key").addEventListener("change", loadModels);
openChat(chat);
loadModels();
