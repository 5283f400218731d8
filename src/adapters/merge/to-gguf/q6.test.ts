import { afterAll, beforeAll, expect, test } from "bun:test";
import { toF16Bits } from "../../../compute/random/grid.ts";
import { GgufFile } from "../../../files/gguf/reader.ts";
import type { GgufTensor } from "../../../files/gguf/format.ts";
import { GgufWriter } from "../../../files/gguf/writer.ts";
import { refusalOf, type TemporaryFolder } from "../../../files/testing/folder.ts";
import type { Decoder } from "../../../models/decoder/decoder.ts";
import { loadDecoder } from "../../../models/folder/load-decoder.ts";
import { locateModel } from "../../../models/folder/locate.ts";
import { unpackBlocks } from "../../../models/read-weights.ts";
import { writeLora } from "../../testing/lora.ts";
import { Workplace } from "./testing/workplace.ts";
import { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { Notes, OPTIONS } from "../testing/merge.ts";
import { merge } from "../to-files/run.ts";
import { logitsAfter } from "../../../models/testing/logits.ts";

// A Q4_0 file as llama-quantize writes it: embeddings, which are the output matrix, too, in Q6_K, and a matrix of a layer.

const [VOCABULARY, WIDTH] = [544, 256];
const EMBEDDING = "token_embd.weight";
const IN_Q6 = [EMBEDDING, "blk.1.ffn_up.weight"];

let place: Workplace;
let folder: TemporaryFolder;
beforeAll(async () => {
  place = await Workplace.open();
  ({ folder } = place);
  const sizes = { vocab_size: VOCABULARY, hidden_size: WIDTH, max_position_embeddings: 256, eos_token_id: 2 };
  await place.model("llama", "llama", 2, { ...sizes, tie_word_embeddings: true });
  const plain = await place.written(folder.at("llama"), "plain.gguf", "q4_0");
  await using file = await GgufFile.open(plain);
  const tensors = [...file.header.tensors.values()].map((tensor): GgufTensor =>
    IN_Q6.includes(tensor.name) ? { ...tensor, type: "Q6_K" } : tensor,
  );
  const writer = await GgufWriter.create(folder.at("q6.gguf"), file.header.metadata, tensors);
  for (const tensor of file.header.tensors.values()) {
    const bytes = new Uint8Array(tensor.bytes);
    await file.read(tensor, bytes);
    await writer.append(tensor.name, IN_Q6.includes(tensor.name) ? madeUp(bytes.length / 144) : bytes);
  }
  await writer.finish();
  await writer.close();
});
afterAll(() => place[Symbol.asyncDispose]());

/** Blocks of any bits, but finite scales. */
function madeUp(blocks: number): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from({ length: blocks * 210 }, (_, at) => (Math.imul(at + 1, 0x9e3779b1) >>> 13) & 255);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    view.setUint16(block * 210 + 208, toF16Bits(((block % 7) - 3.5) * 2 ** -12), true);
  }
  return bytes;
}

/** `dequantize_row_q6_K` of ggml-quants.c, element by element. */
function reference(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer);
  const out = new Float32Array((bytes.length / 210) * 256);
  for (let block = 0; block < bytes.length / 210; block++) {
    const d = view.getFloat16(block * 210 + 208, true);
    for (let n = 0; n < 2; n++) {
      const [ql, qh, sc] = [block * 210 + n * 64, block * 210 + 128 + n * 32, block * 210 + 192 + n * 8];
      for (let l = 0; l < 32; l++) {
        const [a, b, high] = [bytes[ql + l] ?? 0, bytes[ql + l + 32] ?? 0, bytes[qh + l] ?? 0];
        const numbers = [a & 15, b & 15, a >> 4, b >> 4];
        numbers.forEach((low, part) => {
          const q = (low | (((high >> (2 * part)) & 3) << 4)) - 32;
          out[block * 256 + n * 128 + part * 32 + l] = d * view.getInt8(sc + (l >> 4) + 2 * part) * q;
        });
      }
    }
  }
  return out;
}

async function bytesOf(path: string, name: string): Promise<{ readonly type: string; readonly bytes: Uint8Array }> {
  await using file = await GgufFile.open(path);
  const tensor = file.header.tensors.get(name);
  if (tensor === undefined) throw new Error(name);
  const bytes = new Uint8Array(tensor.bytes);
  await file.read(tensor, bytes);
  return { type: tensor.type, bytes };
}

test("its numbers are llama.cpp's", () => {
  const bytes = madeUp(5);
  expect([...unpackBlocks(bytes, "Q6_K")]).toEqual([...reference(bytes)]);
});

test("embeddings and logits from blocks are those from their numbers", async () => {
  const { folder: settings, weights } = await locateModel(folder.at("q6.gguf"));
  using kept = await loadDecoder(place.gpu, settings, { weights });
  expect(kept.weights.embedding.dtype).toBe("Q6_K");
  expect(kept.weights.quantized).toMatchObject({ dtype: "Q4_0 and Q6_K" });
  using wide = await loadDecoder(place.gpu, settings, { weights, dtype: "F32" });
  const logits = async (decoder: Decoder, ids: readonly number[]) => {
    return await logitsAfter(decoder, ids);
  };
  for (const ids of [[5], [9, 300, 543, 7]]) {
    const [blocks, numbers] = [await logits(kept, ids), await logits(wide, ids)];
    const largest = Math.max(...numbers.map(Math.abs));
    expect(largest).toBeGreaterThan(0);
    blocks.forEach((value, at) => expect(Math.abs(value - (numbers[at] ?? NaN))).toBeLessThan(3e-3 * largest));
  }
});

test("a merge copies it bit by bit, rounds it where it is told to, and refuses to change it otherwise", async () => {
  const lora = async (layer: number) => {
    const modules = { [`model.layers.${layer}.mlp.up_proj`]: [64, WIDTH] } as const;
    return await writeLora(folder.at(`lora-${layer}`), { r: 2, alpha: 4, seed: 3, modules });
  };
  const merged = await place.written(folder.at("q6.gguf"), "merged.gguf", "keep", [await lora(0)]);
  const [before, after] = [await bytesOf(folder.at("q6.gguf"), EMBEDDING), await bytesOf(merged, EMBEDDING)];
  expect(after).toEqual({ type: "Q6_K", bytes: before.bytes });
  await using file = await GgufFile.open(merged);
  // What most tensors are.
  expect(file.header.metadata.get("general.file_type")).toMatchObject({ value: 2 });
  const half = await bytesOf(await place.written(folder.at("q6.gguf"), "half.gguf", "f16"), EMBEDDING);
  expect(half.type).toBe("F16");
  const numbers = unpackBlocks(before.bytes, "Q6_K");
  expect([...new Uint16Array(half.bytes.buffer)]).toEqual([...numbers].map(toF16Bits));
  const refusal = await refusalOf(async () => place.written(folder.at("q6.gguf"), "x.gguf", "keep", [await lora(1)]));
  expect(refusal).toMatchObject({
    code: "model",
    message: expect.stringContaining("is Q6_K"),
    hint: "give --outtype q8_0 or f16",
  });
  await place.written(folder.at("q6.gguf"), "x.gguf", "q8_0", [await lora(1)]);
});

test("--verify reads blocks back, of a matrix that the folder stores transposed, too", async () => {
  await place.model("gpt2", "gpt2", 1, { n_positions: 64, vocab_size: VOCABULARY, eos_token_id: 2 });
  const module = "transformer.h.0.mlp.c_fc";
  await using checkpoint = await Checkpoint.open(folder.at("gpt2"));
  const [input = 0, out = 0] = checkpoint.get(`${module}.weight`).info.shape;
  const lora = { r: 2, alpha: 4, seed: 3, modules: { [module]: [out, input] } } as const;
  const adapters = [await writeLora(folder.at("on-gpt2"), lora, { config: { fan_in_fan_out: true } })];
  const options = { ...OPTIONS, base: folder.at("gpt2"), adapters, out: folder.at("verified.gguf"), force: true };
  for (const outtype of ["q8_0", "q4_0"] as const) {
    const { maxErrorUlp } = await merge({ ...options, outtype }, new Notes(), new AbortController().signal);
    expect(maxErrorUlp).toBeWithin(0.1, 1);
  }
});
