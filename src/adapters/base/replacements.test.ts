import { expect, test } from "bun:test";
import { memoryTensor } from "../files/tensors.ts";
import { type Replacement, stayingTied } from "./replacements.ts";

const [INPUT, OUTPUT] = ["model.embed_tokens.weight", "lm_head.weight"];

test("embeddings that an adapter brings under both names stay tied, unless they differ or it adapts one", async () => {
  const info = { dtype: "F32", shape: [4, 2] } as const;
  const base = { path: "it", tensors: new Map([[INPUT, info]]), config: { architectures: ["LlamaForCausalLM"] } };
  const from = (name: string, last: number) => memoryTensor(name, "F32", [4, 2], new Uint8Array(32).fill(last, 31));
  const plan = (last: number, layers: readonly string[] = []) => ({
    layers: layers.map((tensor) => ({ tensor })),
    replacements: [
      { tensor: INPUT, from: from(INPUT, 1), exists: true },
      { tensor: OUTPUT, from: from(OUTPUT, last), exists: false },
    ] as readonly Replacement[],
  });
  const isTied = async (...given: Parameters<typeof plan>) => {
    const { replacements } = await stayingTied(plan(...given), base);
    return replacements.map(({ tied = false }) => tied);
  };
  expect(await isTied(1)).toEqual([true, true]);
  expect(await isTied(2)).toEqual([false, false]);
  expect(await isTied(1, [INPUT])).toEqual([false, false]);
  const untied = { ...base, config: { ...base.config, tie_word_embeddings: false } };
  expect((await stayingTied(plan(1), untied)).replacements.some(({ tied }) => tied)).toBe(false);
});
