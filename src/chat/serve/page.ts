import { createHash } from "node:crypto";
import api from "./page/api.client.js" with { type: "text" };
import chat from "./page/chat.client.js" with { type: "text" };
import chats from "./page/chats.client.js" with { type: "text" };
import markdown from "./page/markdown.client.js" with { type: "text" };
import markup from "./page/page.html" with { type: "text" };
import style from "./page/style.css" with { type: "text" };

/*
 * One document, so that it needs nothing else. What stands in it is hashed: only that may run, and it may talk to nobody
 * but this server (Content Security Policy, level 3): text of a model that found its way into the markup could do nothing.
 */
const SCRIPT = [markdown, chats, api, chat].join("\n");
// Bun's types take every import of HTML for a bundle; with `type: "text"` it is the text.
const PAGE = String(markup)
  .replace("<style></style>", () => `<style>${style}</style>`)
  .replace("<script></script>", () => `<script>${SCRIPT}</script>`);

const POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(style)}`,
  "img-src data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** The chat page. */
export function pageResponse(): Response {
  return new Response(PAGE, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": POLICY,
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-cache",
    },
  });
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
