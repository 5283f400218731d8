import { open } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { loadConfig } from "../../src/models/decoder/architectures/index.ts";
import { attentionsOf } from "../../src/models/decoder/config.ts";
import { Checkpoint } from "../../src/files/safetensors/checkpoint.ts";
import { dtypeBytes } from "../../src/files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../../src/files/safetensors/numbers.ts";
import { ggufName, pairedRow } from "../../interop/smollm2/gguf-layout.ts";
import { GgufValues } from "./gguf-values.ts";

/** GGUF's numbers of tensor types (ggml.h). */
const TYPES = { F32: 0, BF16: 30 } as const;
/** Tensors begin at multiples of this; the format's default. */
const ALIGNMENT = 32;
/** llama.cpp's numbers of kinds of tokens: those of a vocabulary, and those that no text becomes. */
const NORMAL = 1;
const CONTROL = 3;
/** `general.file_type`: mostly bf16. */
const MOSTLY_BF16 = 32;

const TokenizerFile = v.object({
  model: v.object({
    vocab: v.record(v.string(), v.number()),
    merges: v.array(v.union([v.string(), v.strictTuple([v.string(), v.string()])])),
  }),
  added_tokens: v.array(v.object({ id: v.number(), content: v.string(), special: v.boolean() })),
});

interface Planned {
  /** In the checkpoint, and in GGUF. */
  readonly from: string;
  readonly to: string;
  /** As the checkpoint has it: (rows, cols), or (size). */
  readonly shape: readonly number[];
  readonly type: keyof typeof TYPES;
  /** Heads whose rows are reordered; 0: none. */
  readonly heads: number;
}

/**
 * Writes a model of the llama family as a GGUF file for llama.cpp: matrices in bf16, vectors in f32, with a byte-level BPE
 * tokenizer. Just enough of the format (version 3) for the SmolLM models; others are refused by llama.cpp or here.
 */
export async function writeGguf(folder: string, path: string): Promise<void> {
  const config = await loadConfig(folder);
  await using checkpoint = await Checkpoint.open(folder);
  if (config.architecture !== "llama") throw new Error(`${folder}: ${config.architecture} cannot be written as GGUF`);
  const [{ heads, kvHeads, headSize }] = attentionsOf(config);
  const planned = [...checkpoint.tensors].map(([name, { info }]): Planned => {
    const type = info.shape.length === 1 ? "F32" : "BF16";
    const rotated = name.endsWith("q_proj.weight") ? heads : name.endsWith("k_proj.weight") ? kvHeads : 0;
    return { from: name, to: ggufName(name), shape: info.shape, type, heads: rotated };
  });

  const header = new GgufValues();
  header.bytes(new TextEncoder().encode("GGUF")).u32(3).u64(planned.length);
  const metadata = await metadataOf(folder, config);
  header.u64(metadata.count).bytes(metadata.values.take());
  let offset = 0;
  const sizeOf = ({ shape, type }: Planned): number => shape.reduce((size, n) => size * n, dtypeBytes(type));
  for (const tensor of planned) {
    header.string(tensor.to).u32(tensor.shape.length);
    for (const size of tensor.shape.toReversed()) header.u64(size); // the fastest first
    header.u32(TYPES[tensor.type]).u64(offset);
    offset += aligned(sizeOf(tensor));
  }
  const head = header.take();
  await using file = await open(path, "w");
  await file.write(head);
  let position = aligned(head.length);
  for (const tensor of planned) {
    const bytes = await read(checkpoint, tensor, headSize);
    await file.write(bytes, 0, bytes.length, position);
    position += aligned(bytes.length);
  }
  await file.truncate(position);
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

/** A tensor's bytes as GGUF wants them: in its type, and the rows of q and k as llama.cpp rotates them, in pairs. */
async function read(checkpoint: Checkpoint, { from, shape, type, heads }: Planned, headSize: number) {
  const { dtype } = checkpoint.get(from).info;
  if (dtype !== "BF16" && dtype !== "F32" && dtype !== "F16") throw new Error(`${from}: ${dtype}`);
  const count = shape.reduce((size, n) => size * n, 1);
  const stored = new Uint8Array(count * dtypeBytes(dtype));
  await checkpoint.read(from, stored);
  let bytes = stored;
  if (dtype !== type) {
    const values = new Float32Array(count);
    widenToF32(stored, dtype, values);
    bytes = new Uint8Array(count * dtypeBytes(type));
    if (type === "F32") bytes = new Uint8Array(values.buffer);
    else roundFromF32(values, type, bytes);
  }
  if (heads === 0) return bytes;
  const [, cols = 0] = shape;
  const rowBytes = cols * dtypeBytes(type);
  const turned = new Uint8Array(bytes.length);
  for (let head = 0; head < heads; head++) {
    for (let row = 0; row < headSize; row++) {
      const source = head * headSize + row;
      const target = head * headSize + pairedRow(row, headSize);
      turned.set(bytes.subarray(source * rowBytes, (source + 1) * rowBytes), target * rowBytes);
    }
  }
  return turned;
}

/** Key-value pairs: what llama.cpp asks of a llama and of a GPT-2 tokenizer. */
async function metadataOf(folder: string, config: Awaited<ReturnType<typeof loadConfig>>) {
  const json = v.parse(
    v.object({
      rope_theta: v.number(),
      rms_norm_eps: v.number(),
      intermediate_size: v.number(),
      bos_token_id: v.number(),
      eos_token_id: v.number(),
    }),
    await Bun.file(join(folder, "config.json")).json(),
  );
  const { model, added_tokens: added } = v.parse(TokenizerFile, await Bun.file(join(folder, "tokenizer.json")).json());
  const size = config.vocabularySize;
  const tokens = Array.from({ length: size }, (_, id) => `<unused${id}>`);
  const kinds = Array.from({ length: size }, () => CONTROL);
  for (const [token, id] of Object.entries(model.vocab)) [tokens[id], kinds[id]] = [token, NORMAL];
  for (const { id, content, special } of added) [tokens[id], kinds[id]] = [content, special ? CONTROL : NORMAL];
  const merges = model.merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" ")));

  const values = new GgufValues();
  let count = 0;
  const pair = (key: string): GgufValues => {
    count += 1;
    return values.string(key);
  };
  const [{ heads, kvHeads, headSize }] = attentionsOf(config);
  pair("general.architecture").text("llama");
  pair("general.name").text("bench");
  pair("general.file_type").integer(MOSTLY_BF16);
  pair("llama.vocab_size").integer(size);
  pair("llama.context_length").integer(config.contextLength);
  pair("llama.embedding_length").integer(config.hiddenSize);
  pair("llama.block_count").integer(config.layers.length);
  pair("llama.feed_forward_length").integer(json.intermediate_size);
  pair("llama.rope.dimension_count").integer(headSize);
  pair("llama.rope.freq_base").real(json.rope_theta);
  pair("llama.attention.head_count").integer(heads);
  pair("llama.attention.head_count_kv").integer(kvHeads);
  pair("llama.attention.layer_norm_rms_epsilon").real(json.rms_norm_eps);
  pair("tokenizer.ggml.model").text("gpt2");
  pair("tokenizer.ggml.pre").text("smollm");
  pair("tokenizer.ggml.tokens").texts(tokens);
  pair("tokenizer.ggml.token_type").signedIntegers(kinds);
  pair("tokenizer.ggml.merges").texts(merges);
  pair("tokenizer.ggml.bos_token_id").integer(json.bos_token_id);
  pair("tokenizer.ggml.eos_token_id").integer(json.eos_token_id);
  return { count, values };
}
