// The process that reads requests, which is ended where one takes too long: an entry point of its own (see READER).
import { ChatTemplate } from "../../data/text/chat-template.ts";
import { loadTokenizer } from "../../data/text/load-tokenizer.ts";
import { type TokenTree, tokenTree } from "../grammar/token-tree.ts";
import type { Text } from "./prompt.ts";
import { type Answer, answerOf, MADE_AHEAD, type Question, type Start, type Told } from "./reader-messages.ts";
import { detokenized, templated, tokenized } from "./token-requests.ts";
import { understand, understandTexts } from "./understand.ts";

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
