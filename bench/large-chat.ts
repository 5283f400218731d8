/*
 * `bun bench/large-chat.ts [--quantize q8] [--tokens 16] [--keep DIR]`: a model of Llama-3-8B's shape with random weights (16 GB in
 * bf16, written into the temporary folder, TMPDIR, and removed again; `--keep` makes it in DIR, or takes what is there) answers
 * through `randlora chat`. Prints what that took: time, tokens a second, peak memory. The device is the program's choice, or RANDLORA_DEVICE.
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { EMBEDDED_MODEL } from "../interop/models.ts";
import { type PlannedTensor, plannedBytes } from "../src/files/safetensors/writer.ts";
import { formatBytes, formatDuration } from "../src/terminal/format.ts";
import { machine, renderMachine } from "./harness.ts";
import { measure } from "./peers/measure.ts";
import { writeShards } from "./shards.ts";

const MAIN = join(import.meta.dir, "../cmd/main.ts");
const SHARD_BYTES = 2e9;
/** Random numbers that are written again and again: what a model says is nonsense in any case. */
const BLOCK = 2 ** 22;
const [HIDDEN, KEYS, INTERMEDIATE, LAYERS, VOCABULARY] = [4096, 1024, 14336, 32, 128256];

const LAYER: Readonly<Record<string, readonly number[]>> = {
  input_layernorm: [HIDDEN],
  "self_attn.q_proj": [HIDDEN, HIDDEN],
  "self_attn.k_proj": [KEYS, HIDDEN],
  "self_attn.v_proj": [KEYS, HIDDEN],
  "self_attn.o_proj": [HIDDEN, HIDDEN],
  post_attention_layernorm: [HIDDEN],
  "mlp.gate_proj": [INTERMEDIATE, HIDDEN],
  "mlp.up_proj": [INTERMEDIATE, HIDDEN],
  "mlp.down_proj": [HIDDEN, INTERMEDIATE],
};

const { values } = parseArgs({
  options: {
    quantize: { type: "string", default: "q8" },
    tokens: { type: "string", default: "16" },
    keep: { type: "string" },
  },
});

process.stdout.write(renderMachine(await machine()));
const folder = values.keep ?? (await mkdtemp(join(tmpdir(), "randlora-large-")));
try {
  if (!existsSync(join(folder, "config.json"))) await makeModel(folder);
  const { tokens, quantize } = values;
  const args = ["chat", folder, "-p", "Why is the sky blue?", "--max-tokens", tokens, "--quantize", quantize, "--json"];
  const { seconds, peakBytes, stdout } = await measure([process.execPath, MAIN, ...args], { RANDLORA_QUIET: "true" });
  process.stdout.write(`${stdout.trim()}\n`);
  process.stdout.write(
    `whole process: ${formatDuration(seconds)}, ${formatBytes(peakBytes)} of memory at most; ${tokens} tokens asked for\n`,
  );
} finally {
  if (values.keep === undefined) await rm(folder, { recursive: true, force: true });
}

async function makeModel(into: string): Promise<void> {
  await mkdir(into, { recursive: true });
  const tensors: PlannedTensor[] = [];
  const add = (name: string, shape: readonly number[]) =>
    tensors.push({ name: `${name}.weight`, dtype: "BF16", shape });
  add("model.embed_tokens", [VOCABULARY, HIDDEN]);
  for (let layer = 0; layer < LAYERS; layer++) {
    for (const [name, shape] of Object.entries(LAYER)) add(`model.layers.${layer}.${name}`, shape);
  }
  add("model.norm", [HIDDEN]);
  add("lm_head", [VOCABULARY, HIDDEN]);
  const random = randomBlock();
  const ones = new Uint16Array(HIDDEN).fill(0x3f80);
  process.stderr.write("writing 16 GB\n");
  await writeShards(into, tensors, SHARD_BYTES, async (file, tensor) => {
    const bytes = plannedBytes(tensor);
    const source = tensor.shape.length === 1 ? ones : random;
    for (let at = 0; at < bytes; at += source.byteLength) {
      await file.write(new Uint8Array(source.buffer, 0, Math.min(source.byteLength, bytes - at)));
    }
  });
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await copyFile(join(EMBEDDED_MODEL, name), join(into, name));
  }
  const config = {
    model_type: "llama",
    vocab_size: VOCABULARY,
    hidden_size: HIDDEN,
    intermediate_size: INTERMEDIATE,
    num_hidden_layers: LAYERS,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 500000,
    tie_word_embeddings: false,
    eos_token_id: 1001,
  };
  await writeFile(join(into, "config.json"), JSON.stringify(config));
}

/** Numbers of bf16 between −0.05 and 0.05. */
function randomBlock(): Uint16Array<ArrayBuffer> {
  const numbers = Float32Array.from({ length: BLOCK }, () => (Math.random() - 0.5) / 10);
  const bits = new Uint32Array(numbers.buffer);
  return Uint16Array.from(bits, (word) => word >>> 16);
}
