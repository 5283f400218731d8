/*
 * `bun bench/masks.ts [MODEL] [--tokens 150000] [--rounds 9]`: how long structured output keeps an answer waiting. Prints, for the tokenizer of
 * MODEL (the 135M chat model by default) and for a random vocabulary of so many tokens, how long its tree takes (once for a server), and for
 * each format how long it takes to be read, from there to the mask of the first token (of the fastest round, and of the first one, before
 * anything is compiled), and the slowest of the masks behind it, up to one within a string. Exit status 1 where a first mask takes more than 50 ms.
 */
import { parseArgs } from "node:util";
import { smollm2 } from "../interop/models.ts";
import { Constraint, type Vocabulary } from "../src/chat/grammar/constraint.ts";
import { readGbnf } from "../src/chat/grammar/gbnf.ts";
import type { Grammar } from "../src/chat/grammar/grammar.ts";
import { ANY_OBJECT } from "../src/chat/grammar/json.ts";
import { schemaGrammar } from "../src/chat/grammar/json-schema.ts";
import { statesOf } from "../src/chat/grammar/states.ts";
import { bytesOf, tokenTree } from "../src/chat/grammar/token-tree.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import { Tokenizer } from "../src/data/text/tokenizer.ts";
import { TokenTexts } from "../src/data/text/token-text.ts";
import { BYTE_OF, toByteLevel } from "../src/data/text/tokenizer/byte-level.ts";
import { formatNumber } from "../src/terminal/format.ts";
import { formatTable } from "../src/terminal/table.ts";
import { machine, renderMachine } from "./harness.ts";
import { uniform } from "./serving/load.ts";

/** What a first mask may take. */
const MOST_MS = 50;

const { values, positionals } = parseArgs({
  options: { tokens: { type: "string", default: "150000" }, rounds: { type: "string", default: "9" } },
  allowPositionals: true,
});
const [tokens, rounds] = [Number(values.tokens), Number(values.rounds)];

const person = {
  type: "object",
  properties: { name: { type: "string", maxLength: 40 }, age: { type: "integer", minimum: 0, maximum: 130 } },
  required: ["name", "age"],
};
const order = {
  type: "object",
  properties: {
    id: { type: "string", format: "uuid" },
    placed: { type: "string", format: "date-time" },
    by: person,
    items: {
      type: "array",
      minItems: 1,
      items: {
        type: "object",
        properties: {
          code: { type: "string", pattern: "^[A-Z]{2}-[0-9]{4,6}$" },
          kind: { enum: ["book", "record", "film"] },
          price: { type: "number", minimum: 0 },
        },
        required: ["code", "price"],
      },
    },
  },
  required: ["id", "by", "items"],
};
/** A format, and a text that begins by it. */
const FORMATS: ReadonlyMap<string, { readonly read: () => Grammar; readonly begins: string }> = new Map([
  ["json_object", { read: () => ANY_OBJECT, begins: '{"name": "A' }],
  ["json_schema, 2 fields", { read: () => schemaGrammar(person), begins: '{"name": "A' }],
  ["json_schema, nested", { read: () => schemaGrammar(order), begins: '{"id": "' }],
  ["grammar, free words", { read: () => readGbnf('root ::= ([^\\n]+ "\\n")+'), begins: "A" }],
]);

/** Random words of a byte-level tokenizer: half of them behind a space, one in eight of Chinese characters. */
function randomTokenizer(count: number): Tokenizer {
  const draw = uniform(1);
  const vocabulary = new Set(BYTE_OF.keys());
  while (vocabulary.size < count) {
    const isChinese = draw() < 1 / 8;
    const length = 1 + Math.floor((isChinese ? 4 : 9) * draw());
    // Common letters come more often, as in words: beginnings are shared.
    const letters = Array.from({ length }, () =>
      String.fromCharCode(isChinese ? 0x4e00 + Math.floor(6000 * draw()) : 97 + Math.floor(26 * draw() ** 2)),
    );
    vocabulary.add(toByteLevel((draw() < 0.5 ? " " : "") + letters.join("")));
  }
  const vocab = Object.fromEntries(Array.from(vocabulary, (token, id) => [token, id]));
  const file = {
    version: "1.0",
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: "BPE", dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  };
  const none = { bos_token: null, eos_token: null, pad_token: null, unk_token: null };
  return new Tokenizer(file, { ...none, add_bos_token: null, add_eos_token: null });
}

function timed<T>(work: () => T): { readonly value: T; readonly ms: number } {
  const start = performance.now();
  const value = work();
  return { value, ms: performance.now() - start };
}

/** Milliseconds of the fastest round: other processes only add to them. */
function measure(tokenizer: Tokenizer, vocabulary: Vocabulary, read: () => Grammar, begins: string) {
  const logits = new Float32Array(vocabulary.tree.size);
  const all = Array.from({ length: rounds }, () => {
    const reading = timed(() => statesOf(read()));
    const first = timed(() => {
      const constraint = new Constraint(reading.value, vocabulary, new Set([0]));
      constraint.apply(logits, 1000);
      return constraint;
    });
    const later = tokenizer.encode(begins, { special: false }).map((token) => {
      first.value.push(token);
      return timed(() => first.value.apply(logits, 1000)).ms;
    });
    return { read: reading.ms, first: first.ms, later: Math.max(...later) };
  });
  const least = (of: "read" | "first" | "later") => Math.min(...all.map((one) => one[of]));
  return { read: least("read"), first: least("first"), later: least("later"), once: all[0]?.first ?? NaN };
}

process.stdout.write(renderMachine(await machine()));
let isSlow = false;
for (const [name, tokenizer] of [
  [positionals[0] ?? "135M", await loadTokenizer(positionals[0] ?? (await smollm2()))],
  ["random", randomTokenizer(tokens)],
] as const) {
  const start = performance.now();
  const tree = await tokenTree(tokenizer, tokenizer.vocabSize);
  const ms = performance.now() - start;
  const texts = new TokenTexts(tokenizer);
  const vocabulary: Vocabulary = { tree, bytesOf: (id) => bytesOf(tokenizer, texts, id) };
  const rows = Array.from(FORMATS, ([format, { read, begins }]) => {
    const { read: reading, first, later, once } = measure(tokenizer, vocabulary, read, begins);
    isSlow ||= first > MOST_MS;
    return [format, ...[reading, first, once, later].map((one) => one.toFixed(1))];
  });
  const head = [
    `${name}, ${formatNumber(tree.size)} tokens: ms`,
    "reading",
    "first mask",
    "in the first round",
    "slowest behind it",
  ];
  process.stdout.write(`\ntree of the vocabulary: ${ms.toFixed(0)} ms\n${formatTable([head, ...rows])}\n`);
}
if (isSlow) process.exitCode = 1;
