/* Conversations in this browser: each under a key of its own, so that tabs do not write over each other's. */

/** What is kept: browsers give a page some five million characters. The oldest go first. */
const MOST_CHATS = 100;
const MOST_CHARACTERS = 2_000_000;
const LONGEST_TITLE = 80;
const KEY = "randlora.chat.";

function newChat() {
  return { id: crypto.getRandomValues(new Uint32Array(2)).join("-"), title: "", updated: Date.now(), messages: [] };
}

/* What is found may be of another version, or of another page that this address has served. */
function readChat(id) {
  try {
    const { title, updated, messages } = JSON.parse(localStorage.getItem(KEY + id));
    const isMessage = (one) => typeof one?.content === "string" && (one.role === "user" || one.role === "assistant");
    if (typeof title !== "string" || typeof updated !== "number" || !messages.every(isMessage)) return undefined;
    return { id, title, updated, messages };
  } catch {
    return undefined;
  }
}

/** What another tab has made of a conversation since it was read or kept here; undefined: nothing. */
function keptElsewhere({ id, updated }) {
  const kept = readChat(id);
  return kept?.updated === updated ? undefined : kept;
}

/** All that is kept, the newest first. */
function readChats() {
  const ids = Object.keys(localStorage).flatMap((key) => (key.startsWith(KEY) ? [key.slice(KEY.length)] : []));
  const chats = ids.map(readChat).filter((chat) => chat !== undefined);
  return chats.toSorted((a, b) => b.updated - a.updated || (a.id < b.id ? -1 : 1));
}

/** Keeps a conversation, and forgets the oldest others where that is too much. @returns whether it is kept */
function writeChat({ id, title, updated, messages }) {
  const text = JSON.stringify({ title, updated, messages });
  if (text.length > MOST_CHARACTERS) return false;
  const others = readChats().filter((chat) => chat.id !== id);
  const sizeOf = (chat) => localStorage.getItem(KEY + chat.id).length;
  const forgotten = [];
  const forgetOldest = () => {
    const key = KEY + others.pop().id;
    forgotten.push([key, localStorage.getItem(key)]);
    localStorage.removeItem(key);
  };
  const size = () => others.reduce((sum, chat) => sum + sizeOf(chat), text.length);
  while (others.length >= MOST_CHATS || size() > MOST_CHARACTERS) forgetOldest();
  for (;;) {
    try {
      localStorage.setItem(KEY + id, text);
      return true;
    } catch {
      // Another page of this address has filled the browser's room.
      if (others.length === 0) break;
      forgetOldest();
    }
  }
  // Even without them there is no room: they stay.
  for (const [key, kept] of forgotten) localStorage.setItem(key, kept);
  return false;
}

function removeChat(id) {
  localStorage.removeItem(KEY + id);
}

/** A title on one line: what a person calls it, else how it begins. */
function titleOf({ title, messages }) {
  const text = (title || messages[0]?.content || "").trim().replaceAll(/\s+/g, " ");
  return text.length > LONGEST_TITLE ? `${text.slice(0, LONGEST_TITLE)}…` : text;
}

/** Offers a conversation as a file: one line of JSON, which `randlora finetune --data` reads. */
function exportChat(chat) {
  const messages = chat.messages.map(({ role, content }) => ({ role, content }));
  const file = new Blob([`${JSON.stringify({ messages })}\n`], { type: "application/jsonl" });
  const link = element("a");
  link.href = URL.createObjectURL(file);
  link.download = `${
    titleOf(chat)
      .replaceAll(/[^\p{L}\p{N}]+/gu, "-")
      .replace(/^-|-$/g, "")
      .slice(0, 40) || "chat"
  }.jsonl`;
  link.click();
  URL.revokeObjectURL(link.href);
}

// For the other part of the page's script, chat.client.js.
Object.assign(globalThis, { newChat, readChat, keptElsewhere, readChats, writeChat, removeChat, titleOf, exportChat });
