import { GGUF_TYPES } from "../../files/gguf/format.ts";
import type { GgufTensorInfo } from "../../files/gguf/header.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { TensorFile, TensorInfo } from "../../files/safetensors/header.ts";
import { transpose } from "../../files/safetensors/transpose.ts";
import { isBlockDtype } from "../../compute/device/dtype.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { type Numbers, reorder, rowsOf } from "./place.ts";
import { unpackBlocks } from "../read-weights.ts";
import { findSources, presented, type Source } from "./sources.ts";

/** Bytes of the file that are converted at a time. */
const PORTION = 1 << 20;

/**
 * The tensors of a GGUF file as a checkpoint of the model has them: by their names there, rows and numbers as they are there
 * (`GgufPlace`). They are read out of the file. Blocks are read as F32, which holds
 * their numbers exactly, or as they are.
 */
export class GgufTensors implements TensorFile {
  readonly path: string;
  readonly size: number;
  readonly header: TensorFile["header"];
  readonly #file: GgufFile;
  readonly #sources: ReadonlyMap<string, Source>;
  /** What was read last of those whose elements change places, by its first byte. */
  #held:
    | { readonly name: string; readonly size: number | undefined; readonly at: number; readonly bytes: Uint8Array }
    | undefined;

  /** @throws RandloraError `model` naming a tensor that is missing, left over or of another shape than the config's */
  constructor(file: GgufFile, config: DecoderConfig) {
    this.path = file.path;
    this.size = file.size;
    this.#file = file;
    this.#sources = findSources(file, config);
    const tensors = [...this.#sources].map(([name, source]) => presented(name, source));
    // Experts' matrices that are one tensor elsewhere follow each other, as they are written.
    const byOffset = [...Map.groupBy(tensors, ({ name, whole }) => whole?.name ?? name).values()]
      .toSorted(([a], [b]) => (a?.offset ?? 0) - (b?.offset ?? 0))
      .flat();
    // transformers loads no safetensors of another format, which a merge copies this to.
    this.header = { tensors, byOffset, metadata: new Map([["format", "pt"]]) };
  }

  async read({ name, dtype }: TensorInfo, out: Uint8Array, start = 0): Promise<void> {
    await this.#fill(name, dtypeBytes(dtype), out, start);
  }

  async readBlocks({ name }: TensorInfo, out: Uint8Array, start = 0): Promise<void> {
    await this.#fill(name, undefined, out, start);
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #source(name: string): Source {
    const source = this.#sources.get(name);
    if (source === undefined) throw new RangeError(`${name} is not of ${this.path}`);
    return source;
  }

  /**
   * Fills `out` with a range of a tensor: of one whose rows or parts of rows change places, or that a checkpoint stores transposed, from
   * all that changes places with each other.
   * @param size bytes of an element; undefined: blocks stay blocks, which are the file's rows
   */
  async #fill(name: string, size: number | undefined, out: Uint8Array, start: number): Promise<void> {
    const source = this.#source(name);
    const { parts, place, shape } = source;
    const { order, transposed = false } = place;
    const isTurned = transposed && shape.length > 1 && size !== undefined;
    if (!isTurned && order === undefined) return this.#read(source, size, out, start);
    const [rows = 0, cols = 1] = shape.slice(-2);
    const unit = storedBytes(parts[0].stored, (transposed ? rows : rowsOf(order)) * cols, size);
    const all = parts.reduce((sum, { stored, elements }) => sum + storedBytes(stored, elements, size), 0);
    const step = isTurned ? unit : unit * Math.max(1, Math.floor(PORTION / unit));
    for (let filled = 0; filled < out.length;) {
      const at = start + filled - ((start + filled) % step);
      let held = this.#held;
      if (held?.name !== name || held.size !== size || held.at !== at) {
        const stored = new Uint8Array(Math.min(step, all - at));
        await this.#read(source, size, stored, at);
        const ordered = order === undefined ? stored : reorder(stored, order, unit / rowsOf(order), true);
        // Another read may have put its own here meanwhile.
        held = { name, size, at, bytes: isTurned ? transpose(ordered, cols, rows, size) : ordered };
        this.#held = held;
      }
      const some = held.bytes.subarray(start + filled - at).subarray(0, out.length - filled);
      out.set(some, filled);
      filled += some.length;
    }
  }

  /**
   * Fills `out` with a range of a tensor as the file has its rows, from the parts that hold some of it.
   * @param size bytes of an element; undefined: blocks stay blocks
   */
  async #read(
    { parts, place: { numbers } }: Source,
    size: number | undefined,
    out: Uint8Array,
    start: number,
  ): Promise<void> {
    const end = start + out.length;
    let begin = 0;
    for (const { stored, first, elements } of parts) {
      const { bytes, elements: block } = GGUF_TYPES[stored.type];
      const before = (first / block) * bytes;
      const length = storedBytes(stored, elements, size);
      const [from, to] = [Math.max(start, begin), Math.min(end, begin + length)];
      if (from < to) {
        const some = out.subarray(from - start, to - start);
        const isAsStored = size === undefined || (block === 1 && bytes === size && numbers === undefined);
        if (isAsStored) await this.#file.read(stored, some, before + from - begin);
        else await this.#convert(stored, numbers, size, some, from - begin, before);
      }
      begin += length;
    }
  }

  /**
   * Reads the whole blocks that a range of the converted part is made of.
   * @param size bytes of a converted element
   * @param before bytes of the stored tensor before the part
   */
  async #convert(
    stored: GgufTensorInfo,
    numbers: Numbers | undefined,
    size: number,
    out: Uint8Array,
    start: number,
    before: number,
  ): Promise<void> {
    const { bytes, elements } = GGUF_TYPES[stored.type];
    const unit = elements * size;
    const end = start + out.length;
    const last = Math.ceil(end / unit);
    const step = Math.floor(PORTION / bytes);
    for (let first = Math.floor(start / unit); first < last; first += step) {
      const source = new Uint8Array((Math.min(last, first + step) - first) * bytes);
      await this.#file.read(stored, source, before + first * bytes);
      const made = widened(source, stored, numbers);
      const at = first * unit;
      const [from, to] = [Math.max(start, at), Math.min(end, at + made.length)];
      out.set(made.subarray(from - at, to - at), from - start);
    }
  }
}

/** Bytes of so many elements, of `size` each; undefined: as the file has them. */
function storedBytes({ type }: GgufTensorInfo, elements: number, size: number | undefined): number {
  const { bytes, elements: block } = GGUF_TYPES[type];
  return size === undefined ? (elements / block) * bytes : elements * size;
}

/** Blocks as F32, and numbers as the checkpoint has them. */
function widened(bytes: Uint8Array<ArrayBuffer>, { type }: GgufTensorInfo, numbers: Numbers | undefined): Uint8Array {
  if (!isBlockDtype(type) && numbers === undefined) return bytes;
  const values = isBlockDtype(type) ? unpackBlocks(bytes, type) : new Float32Array(bytes.buffer);
  if (numbers !== undefined) for (let i = 0; i < values.length; i++) values[i] = numbers.from(values[i] ?? 0);
  return new Uint8Array(values.buffer);
}
