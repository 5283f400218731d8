import { GGUF_TYPES } from "../../files/gguf/format.ts";
import type { GgufTensorInfo } from "../../files/gguf/header.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { TensorFile, TensorInfo } from "../../files/safetensors/header.ts";
import { transpose } from "../../files/safetensors/transpose.ts";
import { isBlockDtype } from "../../compute/device/dtype.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import type { GgufPlace, Numbers } from "./place.ts";
import { unpackBlocks } from "./blocks.ts";
import { reorder, rowsOf } from "./order.ts";
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
  /** What was read last of those that are not made row by row: a whole unit of them. */
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
    const byOffset = tensors.toSorted((a, b) => a.offset - b.offset);
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
   * Fills `out` with a range of a tensor: of one that a checkpoint stores transposed, or that has its units in several tensors, from
   * the whole matrix, or row, that they are of.
   * @param size bytes of an element; undefined: blocks stay blocks, which are the file's rows
   */
  async #fill(name: string, size: number | undefined, out: Uint8Array, start: number): Promise<void> {
    const { parts, place, shape } = this.#source(name);
    const isTurned = place.transposed === true && shape.length > 1 && size !== undefined;
    const isApart = place.order !== undefined && place.strips !== undefined;
    if (!isTurned && !isApart) return this.#read({ parts, place, shape }, size, out, start);
    const [rows = 0, cols = 0] = shape.slice(-2);
    const elements = place.transposed === true ? rows * cols : cols;
    const { bytes, elements: block } = GGUF_TYPES[parts[0].stored.type];
    const unit = size === undefined ? (elements / block) * bytes : elements * size;
    for (let filled = 0; filled < out.length;) {
      const at = Math.floor((start + filled) / unit);
      if (this.#held?.name !== name || this.#held.size !== size || this.#held.at !== at) {
        const stored = new Uint8Array(unit);
        const { order, ...unordered } = place;
        await this.#read({ parts, place: isApart ? unordered : place, shape }, size, stored, at * unit);
        const ordered = isApart && order ? reorder(stored, order, unit / rowsOf(order), true) : stored;
        this.#held = { name, size, at, bytes: isTurned ? transpose(ordered, cols, rows, size) : ordered };
      }
      const some = this.#held.bytes.subarray(start + filled - at * unit).subarray(0, out.length - filled);
      out.set(some, filled);
      filled += some.length;
    }
  }

  /**
   * Fills `out` with a range of a tensor as the file has its rows, from the parts that hold some of it.
   * @param size bytes of an element; undefined: blocks stay blocks
   */
  async #read({ parts, place }: Source, size: number | undefined, out: Uint8Array, start: number): Promise<void> {
    const end = start + out.length;
    let begin = 0;
    for (const { stored, first, elements } of parts) {
      const { bytes, elements: block } = GGUF_TYPES[stored.type];
      const before = (first / block) * bytes;
      const length = size === undefined ? (elements / block) * bytes : elements * size;
      const [from, to] = [Math.max(start, begin), Math.min(end, begin + length)];
      if (from < to) {
        const some = out.subarray(from - start, to - start);
        const isAsStored = size === undefined || (block === 1 && bytes === size && place.numbers === undefined);
        if (isAsStored && place.order === undefined) await this.#file.read(stored, some, before + from - begin);
        else await this.#convert(stored, place, size, some, from - begin, before);
      }
      begin += length;
    }
  }

  /**
   * Reads what a range of the converted part is made of, in whole blocks, or rows that are reordered together.
   * @param size bytes of a converted element; undefined: blocks stay blocks
   * @param before bytes of the stored tensor before the part
   */
  async #convert(
    stored: GgufTensorInfo,
    { order, numbers }: GgufPlace,
    size: number | undefined,
    out: Uint8Array,
    start: number,
    before: number,
  ): Promise<void> {
    const { bytes, elements } = GGUF_TYPES[stored.type];
    const cols = stored.shape.slice(1).reduce((product, n) => product * n, 1);
    const unit = order === undefined ? elements : rowsOf(order) * cols;
    const unitStored = (unit / elements) * bytes;
    const unitOut = size === undefined ? unitStored : unit * size;
    const end = start + out.length;
    const last = Math.ceil(end / unitOut);
    const step = Math.max(1, Math.floor(PORTION / unitStored));
    for (let first = Math.floor(start / unitOut); first < last; first += step) {
      const source = new Uint8Array((Math.min(last, first + step) - first) * unitStored);
      await this.#file.read(stored, source, before + first * unitStored);
      const read = size === undefined ? source : widened(source, stored, numbers);
      const made = order === undefined ? read : reorder(read, order, unitOut / rowsOf(order), true);
      const at = first * unitOut;
      const [from, to] = [Math.max(start, at), Math.min(end, at + made.length)];
      out.set(made.subarray(from - at, to - at), from - start);
    }
  }
}

/** Blocks as F32, and numbers as the checkpoint has them. */
function widened(bytes: Uint8Array<ArrayBuffer>, { type }: GgufTensorInfo, numbers: Numbers | undefined): Uint8Array {
  if (!isBlockDtype(type) && numbers === undefined) return bytes;
  const values = isBlockDtype(type) ? unpackBlocks(bytes, type) : new Float32Array(bytes.buffer);
  if (numbers !== undefined) for (let i = 0; i < values.length; i++) values[i] = numbers.from(values[i] ?? 0);
  return new Uint8Array(values.buffer);
}
