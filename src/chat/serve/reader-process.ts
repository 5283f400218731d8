// The process that reads requests, which is ended where one takes too long: an entry point of its own (see READER).
import * as v from "valibot";
import { ChatTemplate } from "../../data/text/chat-template.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { type TokenTree, tokenTree } from "../grammar/token-tree.ts";
import { chatText, checkKnown, type Text } from "./prompt.ts";
import { type Answer, answerOf, MADE_AHEAD, type Question, type Start, type Told } from "./reader-messages.ts";
import { type ReadingOptions, understand, understandTexts } from "./understand.ts";
import { TokenTexts } from "../../data/text/token-text.ts";
import { badField } from "./api-error.ts";
import { parseBody } from "./body.ts";
import { readChatRequest } from "./chat-request.ts";
import { readFields } from "./fields.ts";
import { optional } from "./schemas.ts";

let start: Start;
let text: Text;
let tree: Promise<TokenTree> | undefined;

async function load(asked: Start): Promise<undefined> {
  const { folder, template, vocabularySize, ahead } = asked;
  start = asked;
  text = {
    tokenizer: await loadTokenizer(folder),
    template: template && new ChatTemplate(template.source, template.origin, template.specialTokens, template.toolUse),
    decoder: { config: { vocabularySize } },
  };
  // What is wrong with it is said to whoever asks for it.
  const made = (): void => void process.send?.(MADE_AHEAD);
  if (ahead) vocabulary().then(made, made);
}

function vocabulary(): Promise<TokenTree> {
  return (tree ??= tokenTree(text.tokenizer, start.vocabularySize));
}

async function answer(question: Start | Question): Promise<Told> {
  if ("folder" in question) return await load(question);
  if (question.kind === "vocabulary") return await vocabulary();
  if ("raw" in question) return await understand(text, question.kind, question.body, question.raw, start);
  const { kind, body } = question;
  if (kind === "tokenize") return { json: await tokenized(text, body) };
  if (kind === "detokenize") return { json: detokenized(text, body) };
  if (kind === "template") return { json: templated(text, body, start) };
  return await understandTexts(text, kind, body, start);
}

process.on("message", async (question: Start | Question) => {
  process.send?.(await answer(question).then((value): Answer => ({ value }), answerOf));
});
process.on("disconnect", () => process.exit(0));
// A terminal's Ctrl-C is the server's to answer: what is asked until then is still answered.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
if (process.send === undefined) process.exit(2);

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
async function tokenized({ tokenizer }: Text, body: Uint8Array): Promise<string> {
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
function detokenized(model: Text, body: Uint8Array): string {
  const { tokens } = readFields(Detokenize, parseBody(body));
  checkKnown(tokens, model, "tokens");
  return JSON.stringify({ content: model.tokenizer.decode(tokens) });
}

/** Answers llama.cpp's `/apply-template`: a chat's text up to the answer, by the chat template. @returns JSON. @throws ApiError 400 as `chatText` */
function templated(model: Text, body: Uint8Array, { prompts, defaults }: ReadingOptions): string {
  const { text } = chatText(model, readChatRequest(parseBody(body), defaults), prompts);
  return JSON.stringify({ prompt: text });
}
