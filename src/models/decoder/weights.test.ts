import { expect, test } from "bun:test";
import { openTestDevice } from "../../compute/device/testing/open.ts";
import type { Decoder } from "./decoder.ts";
import { loadDecoder } from "../folder/load-decoder.ts";
import { writeModel } from "../testing/models.ts";
import { TemporaryFolder } from "../../files/testing/folder.ts";
import { logitsAfter } from "../testing/logits.ts";

/** Nothing but the heads is a multiple of 4. */
const CONFIG = {
  model_type: "llama",
  vocab_size: 7,
  hidden_size: 6,
  intermediate_size: 1,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  head_dim: 4,
};
const SHAPES: Readonly<Record<string, readonly number[]>> = {
  "model.embed_tokens.weight": [7, 6],
  "model.norm.weight": [6],
  "lm_head.weight": [7, 6],
  "model.layers.0.input_layernorm.weight": [6],
  "model.layers.0.post_attention_layernorm.weight": [6],
  "model.layers.0.self_attn.q_proj.weight": [4, 6],
  "model.layers.0.self_attn.k_proj.weight": [4, 6],
  "model.layers.0.self_attn.v_proj.weight": [4, 6],
  "model.layers.0.self_attn.o_proj.weight": [6, 4],
  "model.layers.0.mlp.gate_proj.weight": [1, 6],
  "model.layers.0.mlp.up_proj.weight": [1, 6],
  "model.layers.0.mlp.down_proj.weight": [6, 1],
};

test("what is behind the rows is zero, in memory that was used before, too", async () => {
  await using folder = await TemporaryFolder.create();
  await writeModel(folder.path, CONFIG, SHAPES);
  using gpu = await openTestDevice();
  const compute = async (decoder: Decoder) => {
    return await logitsAfter(decoder, [1, 5, 3]);
  };
  const first = await loadDecoder(gpu, folder.path);
  const logits = await compute(first);
  expect(logits.every(Number.isFinite)).toBe(true);
  for (const { buffer } of first.weights.tensors.values()) {
    gpu.write(buffer, new Float32Array(buffer.size / 4).fill(NaN));
  }
  first.release();
  const second = await loadDecoder(gpu, folder.path);
  expect(await compute(second)).toEqual(logits);
  second.release();
}, 120_000);
