import type { ChatMessage } from "../chat-template.ts";
import { REASONING } from "../harmony.ts";
import type { Span } from "../template/marks.ts";

interface Rendered {
  readonly messages: readonly ChatMessage[];
  readonly text: string;
  /** What the template writes before an assistant's turn, and the token that ends one. */
  readonly header: string;
  readonly end: string | undefined;
  /** Texts of all special tokens. */
  readonly special: readonly string[];
}

/**
 * The assistant's turns between their headers and end-of-turn tokens; undefined unless each has one of both, with no
 * special token between them, and no message spells headers or ends. It saves rendering the
 * conversation up to each turn, which takes time by the square of their number.
 */
export function turnsByHeaders({ messages, text, header, end, special }: Rendered): readonly Span[] | undefined {
  if (header.trim() === "" || end === undefined) return undefined;
  const said = JSON.stringify(messages);
  if ([header.trim(), end].some((mark) => said.includes(JSON.stringify(mark).slice(1, -1)))) return undefined;
  const [before = "", ...turns] = text.split(header);
  if (turns.length !== messages.filter(({ role }) => role === "assistant").length) return undefined;
  let at = before.length;
  const spans: Span[] = [];
  for (const turn of turns) {
    const answer = turn.slice(0, turn.indexOf(end));
    if (!turn.includes(end) || special.some((token) => answer.includes(token))) return undefined;
    const start = at + header.length;
    spans.push({ start, end: start + answer.length + end.length });
    at = start + turn.length;
  }
  return spans;
}

/** Whether a message has calls of tools. */
export function callsTools(message: ChatMessage): boolean {
  const calls = message["tool_calls"];
  return Array.isArray(calls) && calls.length > 0;
}

/** Whether a message has reasoning, under any of its names. */
export function hasReasoning(message: ChatMessage): boolean {
  return REASONING.some((name) => typeof message[name] === "string" && message[name] !== "");
}
