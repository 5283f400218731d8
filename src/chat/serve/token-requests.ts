import * as v from "valibot";
import { TokenTexts } from "../../data/text/token-text.ts";
import { badField } from "./api-error.ts";
import { parseBody } from "./body.ts";
import { readChatRequest } from "./chat-request.ts";
import { readFields } from "./fields.ts";
import { optional } from "./schemas.ts";
import { chatText, checkKnown, type Text } from "./prompt.ts";
import type { ReadingOptions } from "./understand.ts";

/** Of one request: as many as the longest contexts have, and no answer of more than a few megabytes. */
const MOST_TOKENS = 2 ** 18;

const Tokenize = v.looseObject({
  /** All models of a server have one tokenizer. */
  model: optional(v.string()),
  content: v.string(),
  add_special: optional(v.boolean()),
  parse_special: optional(v.boolean()),
  with_pieces: optional(v.boolean()),
});
const Detokenize = v.looseObject({
  model: optional(v.string()),
  tokens: v.pipe(
    v.array(v.unknown()),
    v.maxLength(MOST_TOKENS),
    v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  ),
});

/** Answers llama.cpp's `/tokenize`. @returns JSON. @throws ApiError 400 naming the field */
export async function tokenized({ tokenizer }: Text, body: Uint8Array): Promise<string> {
  const fields = readFields(Tokenize, parseBody(body));
  const { content, add_special: special = false, parse_special: parses = true, with_pieces: pieces = false } = fields;
  const plain = parses ? [] : [{ start: 0, end: content.length }];
  const tokens = await tokenizer.encodeWithin(content, MOST_TOKENS, { special, plain });
  if (tokens === undefined) throw badField("content", `has more than ${MOST_TOKENS} tokens: send it in parts`);
  const texts = new TokenTexts(tokenizer);
  const withPiece = (id: number): object => {
    const { text, bytes } = texts.of(id);
    // Halves of characters are no text.
    return { id, piece: text.includes("\uFFFD") ? (bytes ?? text) : text };
  };
  return JSON.stringify({ tokens: pieces ? tokens.map(withPiece) : tokens });
}

/** Answers llama.cpp's `/detokenize`: control tokens are written out. @returns JSON. @throws ApiError 400 naming the field */
export function detokenized(model: Text, body: Uint8Array): string {
  const { tokens } = readFields(Detokenize, parseBody(body));
  checkKnown(tokens, model, "tokens");
  return JSON.stringify({ content: model.tokenizer.decode(tokens) });
}

/** Answers llama.cpp's `/apply-template`: a chat's text up to the answer, by the chat template. @returns JSON. @throws ApiError 400 as `chatText` */
export function templated(model: Text, body: Uint8Array, { prompts, defaults }: ReadingOptions): string {
  const { text } = chatText(model, readChatRequest(parseBody(body), defaults), prompts);
  return JSON.stringify({ prompt: text });
}
