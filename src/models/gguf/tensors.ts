import { RandloraError } from "../../files/errors.ts";
import { oneLine, quote } from "../../files/failure.ts";
import { GGUF_TYPES } from "../../files/gguf/format.ts";
import type { GgufTensorInfo } from "../../files/gguf/header.ts";
import type { GgufFile } from "../../files/gguf/reader.ts";
import { dtypeBytes } from "../../files/safetensors/dtype.ts";
import type { TensorFile, TensorInfo } from "../../files/safetensors/header.ts";
import { transpose } from "../../files/safetensors/transpose.ts";
import { isBlockDtype } from "../../compute/device/dtype.ts";
import type { DecoderConfig } from "../decoder/config.ts";
import { plannedMatrices } from "../decoder/weight-plan.ts";
import { unpackBlocks } from "./blocks.ts";
import type { GgufPlace, Numbers } from "./block-names.ts";
import { ggufPlace, stripsOf } from "./names.ts";
import { reorder, rowsOf } from "./order.ts";
import { ROPE_TENSORS } from "./rope-factors.ts";

/** Bytes of the file that are converted at a time. */
const PORTION = 1 << 20;

/** A tensor of the checkpoint, and where it is in the file. */
interface Source {
  /** Its parts one after another, all of one type. */
  readonly parts: readonly [Part, ...Part[]];
  readonly place: GgufPlace;
  readonly shape: readonly number[];
}

/** Elements of a tensor of the file. */
interface Part {
  readonly stored: GgufTensorInfo;
  readonly first: number;
  readonly elements: number;
}

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
  /** The tensor that was read last of those that a checkpoint stores transposed. */
  #turned: { readonly name: string; readonly bytes: Uint8Array } | undefined;

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

  async read({ name, dtype, bytes }: TensorInfo, out: Uint8Array, start = 0): Promise<void> {
    const [source, size] = [this.#source(name), dtypeBytes(dtype)];
    if (source.place.transposed !== true || source.shape.length !== 2) return this.#read(source, size, out, start);
    if (this.#turned?.name !== name) {
      const whole = new Uint8Array(bytes);
      await this.#read(source, size, whole, 0);
      const [rows = 0, cols = 0] = source.shape;
      this.#turned = { name, bytes: transpose(whole, cols, rows, size) };
    }
    out.set(this.#turned.bytes.subarray(start, start + out.length));
  }

  async readBlocks({ name }: TensorInfo, out: Uint8Array, start = 0): Promise<void> {
    await this.#read(this.#source(name), undefined, out, start);
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
   * Fills `out` with a range of a tensor, from the parts that hold some of it.
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

function presented(name: string, { parts, place, shape }: Source): TensorInfo {
  const [{ stored, first }] = parts;
  const { type } = stored;
  const { bytes: size, elements: block } = GGUF_TYPES[type];
  const elements = shape.reduce((product, length) => product * length, 1);
  const [offset, bytes] = [stored.offset + (first / block) * size, (elements / block) * size];
  if (!isBlockDtype(type)) return { name, dtype: type, shape, elements, offset, bytes };
  const read = { name, dtype: "F32", shape, elements, offset, bytes: elements * dtypeBytes("F32") } as const;
  // Parts of rows change places in whole blocks only.
  const part = place.order?.of === "parts" ? (shape.at(-1) ?? 0) / place.order.places.length : block;
  return part % block === 0 ? { ...read, blocks: { dtype: type, bytes } } : read;
}

function findSources({ path, header }: GgufFile, config: DecoderConfig): Map<string, Source> {
  const refuse = (cause: string, hint: string): never => {
    throw new RandloraError("model", `${oneLine(path)}: ${cause}`, hint);
  };
  const sources = new Map<string, Source>();
  const known = new Set<string>(ROPE_TENSORS);
  for (const { name, stored: shape } of plannedMatrices(config).flatMap(({ parts }) => parts)) {
    const place = ggufPlace(name, config);
    if (place === undefined) throw new TypeError(`${name}: planned, and left out`);
    const [part, ...parts] = stripsOf(place, shape).map((strip): Part => {
      const stored = header.tensors.get(strip.name);
      if (stored === undefined) {
        return refuse(
          `tensor ${quote(strip.name)} is missing`,
          "the file is incomplete, or the architecture is a newer one",
        );
      }
      if (stored.shape.length !== strip.shape.length || stored.shape.some((size, axis) => size !== strip.shape[axis])) {
        const shapes = `has shape [${stored.shape.join(", ")}], by the metadata it is [${strip.shape.join(", ")}]`;
        return refuse(
          `tensor ${quote(strip.name)} ${shapes}`,
          "the file is damaged, or the architecture is a newer one",
        );
      }
      if (place.numbers !== undefined && stored.type !== "F32") {
        return refuse(
          `tensor ${quote(strip.name)} is ${stored.type}`,
          "vectors are F32 in files of llama.cpp: convert it anew",
        );
      }
      known.add(strip.name);
      const cols = strip.shape.length > 1 ? (strip.shape.at(-1) ?? 1) : 1;
      return { stored, first: strip.first * cols, elements: strip.rows * cols };
    });
    if (part === undefined) throw new TypeError(`${name}: nowhere`);
    const other = parts.find(({ stored }) => stored.type !== part.stored.type);
    if (other !== undefined) {
      const types = `${part.stored.type} and ${quote(other.stored.name)} ${other.stored.type}`;
      return refuse(`${quote(part.stored.name)} is ${types}`, "convert it anew, with one type for both");
    }
    sources.set(name, { parts: [part, ...parts], place, shape });
  }
  const left = [...header.tensors.keys()].find((name) => !known.has(name));
  if (left !== undefined) {
    return refuse(`tensor ${quote(left)} has no place in a ${config.architecture} model`, "give the model's folder");
  }
  return sources;
}
