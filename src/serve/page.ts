import { createHash } from "node:crypto";
import source from "./page.html" with { type: "text" };

// Bun's types take every import of HTML for a bundle; with `type: "text"` it is the text.
const PAGE = String(source);

/**
 * Only what stands in the page itself may run, and it may talk to nobody but this server (Content Security Policy,
 * level 3): text of a model that found its way into the markup could do nothing.
 */
const POLICY = [
  "default-src 'none'",
  `script-src ${hashesOf("script")}`,
  `style-src ${hashesOf("style")}`,
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

function hashesOf(tag: "script" | "style"): string {
  const contents = PAGE.matchAll(new RegExp(`<${tag}>(.*?)</${tag}>`, "gs"));
  return Array.from(contents, ([, text = ""]) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`).join(
    " ",
  );
}
