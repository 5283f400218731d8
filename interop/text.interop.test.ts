import { beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { STORIES } from "../fixtures/stories/storyteller.ts";
import { loadTokenizer } from "../src/data/text/load-tokenizer.ts";
import type { Tokenizer } from "../src/data/text/tokenizer.ts";
import { pythonWithPeft } from "./environment.ts";
import { EMBEDDED_MODEL, smollm2 } from "./models.ts";
import { ROOT } from "./program.ts";
import { checkWeights } from "./smollm2/fetch.ts";

/**
 * Python's `tokenizers` on one folder: the samples, as many random texts, long runs, and random ids. Characters are
 * those of Unicode 3.2: newer ones differ between the Unicode tables of the two sides, not between the tokenizers.
 */
const JUDGE = `
import json, random, sys, unicodedata
from tokenizers import Tokenizer
folder, samples, seed = sys.argv[1], json.load(open(sys.argv[2])), int(sys.argv[3])
tokenizer, draw = Tokenizer.from_file(folder + "/tokenizer.json"), random.Random(seed)
planes = [(0x20, 0x7f), (0x80, 0x250), (0x250, 0x2000), (0x2000, 0x3100), (0x3100, 0xd800), (0xe000, 0xffff), (0x10000, 0x1ffff)]
extra = [*" \\t\\n\\r\\u0085\\u00a0\\u3000\\ufeff\\u200d", "the ", "ing", "'s", "<s>", "<|im_end|>", "12", "e\\u0301", "😀", "def f():\\n    "]
def character():
    while True:
        one = draw.choice([lambda: draw.choice(extra), lambda: chr(draw.randrange(*draw.choice(planes)))])()
        if all(unicodedata.ucd_3_2_0.category(c) != "Cn" for c in one): return one
texts = samples + ["".join(character() for _ in range(draw.randrange(1, 80))) for _ in range(2000)]
texts += [run * (20000 // len(run)) for run in ("a", " ", "\\n", "ab", "é", "😀", "1", " x", "\\r\\n", "\\u0000")]
encoded = [tokenizer.encode(text).ids for text in texts]
size = tokenizer.get_vocab_size()
ids = encoded + [[draw.randrange(size) for _ in range(draw.randrange(40))] for _ in range(1000)]
decoded = [tokenizer.decode(run, skip_special_tokens=False) for run in ids]
json.dump({"texts": texts, "encoded": encoded, "ids": ids, "decoded": decoded}, sys.stdout)
`;

const Verdict = v.object({
  texts: v.array(v.string()),
  encoded: v.array(v.array(v.number())),
  ids: v.array(v.array(v.number())),
  decoded: v.array(v.string()),
});

async function judge(folder: string, seed: number): Promise<v.InferOutput<typeof Verdict>> {
  const samples = join(ROOT, "fixtures", "tokenizers", "samples.json");
  const child = Bun.spawn([await pythonWithPeft(), "-c", JUDGE, folder, samples, String(seed)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, status] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  expect([status, stderr]).toEqual([0, ""]);
  return v.parse(Verdict, JSON.parse(stdout));
}

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string {
  const detokenizer = tokenizer.detokenizer();
  return ids.map((id) => detokenizer.push(id)).join("") + detokenizer.flush();
}

describe.each([
  ["the storyteller", async () => STORIES],
  ["the embedded model", async () => EMBEDDED_MODEL],
  ["the 135M model", smollm2],
] as const)("%s", (_, find) => {
  let folder: string;
  let tokenizer: Tokenizer;

  beforeAll(async () => {
    folder = await find();
    tokenizer = await loadTokenizer(folder);
  });

  test("has Python's ids and Python's text, at once and streamed", async () => {
    const { texts, encoded, ids, decoded } = await judge(folder, 11);
    for (const [i, text] of texts.entries()) expect(tokenizer.encode(text)).toEqual(encoded[i] ?? []);
    for (const [i, run] of ids.entries()) expect(streamed(tokenizer, run)).toBe(decoded[i] ?? "");
  });
});

test("the 135M model has the weights that everything was measured with", async () => {
  expect(await checkWeights(await smollm2())).toBeUndefined();
});
