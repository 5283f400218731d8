// Experts in MXFP4 (OCP Microscaling Formats 1.0), as gpt-oss is published: 32 neighbors of an output's row are 16 bytes of the tensor
// `NAME_blocks` (experts, out, in/32, 16), each two E2M1, the first in the low half, times the power of two that the byte of
// `NAME_scales` (experts, out, in/32) is, an E8M0. What the model calls NAME is the transpose, (experts, in, out)
// (transformers, integrations/mxfp4.py, `convert_moe_packed_tensors`).
import { RandloraError } from "../errors.ts";
import { oneLine, quote } from "../failure.ts";
import type { SafetensorsFile } from "./file.ts";
import type { CheckpointTensor, TensorInfo } from "./header.ts";
import { f32ToBf16 } from "./numbers.ts";
import { transpose } from "./transpose.ts";

/** Numbers that share a scale, the bytes of their halves, and those of a block as GGUF has it: the scale's, then the halves. */
const [BLOCK, HALVES, BLOCK_BYTES] = [32, 16, 17];

const AGAIN = "the file is damaged, or of another format: fetch the model again";

/** Numbers of an expert's matrix at most, which is read as a whole: sixteen times those of the largest gpt-oss. */
const MOST_NUMBERS = 2 ** 28;

const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6];

/** Of each E8M0 the 16 numbers that halves of bytes are, as bf16. */
const NUMBERS = Uint16Array.from({ length: 256 * 16 }, (_, at) => {
  const number = (E2M1[at & 7] ?? 0) * 2 ** ((at >> 4) - 127);
  return f32ToBf16((at & 8) === 0 ? number : -number);
});

/** A tensor of a file. */
interface Stored {
  readonly file: SafetensorsFile;
  readonly info: TensorInfo;
}

interface Pair {
  readonly blocks: Stored;
  readonly scales: Stored;
}

/**
 * What is read in place of packed tensors: by the name of the tensor of blocks the tensor in BF16, with the blocks that GGUF's MXFP4
 * would have of its transpose; by the name of the scales nothing.
 * @throws RandloraError `format` for blocks without their scales, and where the two do not belong together
 */
export function packedTensors(files: readonly SafetensorsFile[]): Map<string, readonly CheckpointTensor[]> {
  const all = new Map(files.flatMap((file) => file.header.tensors.map((info) => [info.name, { file, info }] as const)));
  const pairs = new Map<string, Pair>();
  const presented = new Map<string, readonly CheckpointTensor[]>();
  const reader = new PackedReader(pairs);
  for (const [stored, blocks] of all) {
    const [, name] = /^(.+)_blocks$/.exec(stored) ?? [];
    const { shape, dtype, elements, offset } = blocks.info;
    const [experts = 0, out = 0, count = 0, bytes] = shape;
    if (name === undefined || dtype !== "U8" || shape.length !== 4 || bytes !== HALVES) continue;
    const scales = all.get(`${name}_scales`);
    const label = `${oneLine(blocks.file.path)}: ${quote(stored)}`;
    if (scales === undefined) {
      const hint = `name the model's folder where another of its files has them; otherwise ${AGAIN}`;
      throw new RandloraError("format", `${label} has no ${quote(`${name}_scales`)}`, hint);
    }
    if (scales.info.dtype !== "U8" || String(scales.info.shape) !== String(shape.slice(0, 3))) {
      const cause = `is [${shape.join(", ")}], and its scales ${scales.info.dtype} [${scales.info.shape.join(", ")}]`;
      throw new RandloraError("format", `${label} ${cause}`, AGAIN);
    }
    if (out * count * BLOCK > MOST_NUMBERS) {
      const cause = `is [${shape.join(", ")}]: a matrix of an expert has more than ${MOST_NUMBERS} numbers`;
      throw new RandloraError("format", `${label} ${cause}`, AGAIN);
    }
    const info: TensorInfo = {
      name,
      dtype: "BF16",
      shape: [experts, count * BLOCK, out],
      elements: 2 * elements,
      offset,
      bytes: 4 * elements,
      blocks: { dtype: "MXFP4", bytes: (elements / HALVES) * BLOCK_BYTES },
      packed: [stored, scales.info.name],
    };
    pairs.set(name, { blocks, scales });
    presented.set(stored, [{ file: reader.at(blocks.file.path), info }]);
    presented.set(scales.info.name, []);
  }
  return presented;
}

/** Reads the tensors of pairs, by the pairs' names. */
class PackedReader {
  readonly #pairs: ReadonlyMap<string, Pair>;
  /** The matrix of an expert that was read last, as the model has it. */
  #held: { readonly name: string; readonly at: number; readonly bytes: Uint8Array } | undefined;

  constructor(pairs: ReadonlyMap<string, Pair>) {
    this.#pairs = pairs;
  }

  at(path: string): CheckpointTensor["file"] {
    return {
      path,
      read: (tensor, out, start = 0) => this.#read(tensor, out, start),
      readBlocks: (tensor, out, start = 0) => this.#readBlocks(tensor, out, start),
    };
  }

  async #read({ name, shape }: TensorInfo, out: Uint8Array, start: number): Promise<void> {
    const [, rows = 0, cols = 0] = shape;
    const each = rows * cols * 2;
    for (let filled = 0; filled < out.length;) {
      const at = Math.floor((start + filled) / each);
      const bytes = this.#held?.name === name && this.#held.at === at ? this.#held.bytes : await this.#matrix(name, at);
      this.#held = { name, at, bytes };
      const from = start + filled - at * each;
      const part = bytes.subarray(from, from + out.length - filled);
      out.set(part, filled);
      filled += part.length;
    }
  }

  async #matrix(name: string, expert: number): Promise<Uint8Array> {
    const [, out = 0, count = 0] = this.#pair(name).blocks.info.shape;
    const { halves, scales } = await this.#stored(name, expert * out * count, out * count);
    const numbers = new Uint16Array(out * count * BLOCK);
    for (let byte = 0; byte < halves.length; byte++) {
      const both = halves[byte] ?? 0;
      const first = (scales[byte >> 4] ?? 0) << 4;
      numbers[2 * byte] = NUMBERS[first | (both & 15)] ?? 0;
      numbers[2 * byte + 1] = NUMBERS[first | (both >> 4)] ?? 0;
    }
    return transpose(new Uint8Array(numbers.buffer), out, count * BLOCK, 2);
  }

  async #readBlocks({ name }: TensorInfo, out: Uint8Array, start: number): Promise<void> {
    const first = Math.floor(start / BLOCK_BYTES);
    const count = Math.ceil((start + out.length) / BLOCK_BYTES) - first;
    const { halves, scales } = await this.#stored(name, first, count);
    const made = new Uint8Array(count * BLOCK_BYTES);
    for (let block = 0; block < count; block++) {
      const [from, to] = [block * HALVES, block * BLOCK_BYTES];
      made[to] = scales[block] ?? 0;
      // Neighbors share a byte here, and there a number with the one that stands 16 after it.
      for (let i = 0; i < HALVES / 2; i++) {
        const [near, far] = [halves[from + i] ?? 0, halves[from + HALVES / 2 + i] ?? 0];
        made[to + 1 + 2 * i] = (near & 15) | ((far & 15) << 4);
        made[to + 2 + 2 * i] = (near >> 4) | (far & 0xf0);
      }
    }
    out.set(made.subarray(start - first * BLOCK_BYTES, start - first * BLOCK_BYTES + out.length));
  }

  /** @throws RandloraError `format` for a scale that is NaN */
  async #stored(name: string, first: number, count: number): Promise<Record<"halves" | "scales", Uint8Array>> {
    const { blocks, scales } = this.#pair(name);
    const stored = { halves: new Uint8Array(count * HALVES), scales: new Uint8Array(count) };
    await blocks.file.read(blocks.info, stored.halves, first * HALVES);
    await scales.file.read(scales.info, stored.scales, first);
    if (!stored.scales.includes(255)) return stored;
    const cause = `${oneLine(scales.file.path)}: ${quote(scales.info.name)} has a scale that is not a number (255)`;
    throw new RandloraError("format", cause, AGAIN);
  }

  #pair(name: string): Pair {
    const pair = this.#pairs.get(name);
    if (pair === undefined) throw new RangeError(`${name} is packed in no pair of tensors`);
    return pair;
  }
}
