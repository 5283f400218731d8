import { GGUF_TYPES, type GgufTensor, type GgufType, ggufBytes } from "../../../files/gguf/format.ts";
import { GgufWriter } from "../../../files/gguf/writer.ts";
import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { transpose } from "../../../files/safetensors/transpose.ts";
import { roundFromF32, widenToF32 } from "../../../files/safetensors/numbers.ts";
import { isBlockDtype, isRoundedDtype, isKernelDtype, type StoredDtype } from "../../../compute/device/dtype.ts";
import { packBlocks, unpackBlocks } from "../../../models/read-weights.ts";
import { ropeFactors } from "../../../models/gguf/rope-factors.ts";
import { reorder, type GgufPlace, rowsOf } from "../../../models/gguf/place.ts";
import { countOverflows, overflow } from "../stored-weight.ts";
import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { ggufPlace, stripsOf, turnedShape } from "../../../models/gguf/names.ts";
import type { OutputTensor } from "../plan.ts";
import type { GgufModel } from "./model.ts";

/** A tensor of the output: what arrives, and what is written of it. */
interface PlannedGguf {
  readonly place: GgufPlace;
  /** Of what arrives; blocks: those of the base, which stay what they are. */
  readonly dtype: StoredDtype;
  readonly isMerged: boolean;
  /** Rows and columns of each matrix that arrives transposed; undefined: nothing does. */
  readonly turned: readonly [rows: number, cols: number] | undefined;
  /** Where its rows go, one after another: all rows of one tensor, or some of several. */
  readonly parts: readonly Part[];
  /** Of these tensors. */
  readonly type: GgufType;
  /** Bytes that are rewritten together: a row, or rows that are reordered together. */
  readonly unit: number;
  readonly rowBytes: number;
}

/** Bytes of a tensor of the file. */
interface Part {
  readonly tensor: string;
  readonly at: number;
  readonly bytes: number;
}

/** The tensors of a GGUF file, from those of a merge. */
export interface GgufPlan {
  readonly model: GgufModel;
  readonly tensors: ReadonlyMap<string, PlannedGguf>;
  /** The file's, in the order of the merge's. */
  readonly stored: readonly GgufTensor[];
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/** Which of a merge's tensors the file holds, and how. @throws RandloraError `model` for one that has no place there */
export function planGguf(model: GgufModel, tensors: readonly OutputTensor[], base: Checkpoint): GgufPlan {
  const placed = tensors.flatMap((tensor) => {
    const place = ggufPlace(tensor.name, model.config);
    return place === undefined ? [] : [{ ...tensor, place, strips: stripsOf(place, tensor.shape) }];
  });
  const blocksOf = ({ name, dtype, work }: OutputTensor) => {
    const blocks = base.tensors.get(name)?.info.blocks?.dtype;
    // What a folder has in MXFP4 is BF16 where an adapter changes it, as in a folder that is written.
    return blocks === "MXFP4" && work.kind !== "copy" && dtype !== "F32" ? undefined : blocks;
  };
  const stored = new Map<string, GgufTensor>();
  for (const tensor of placed) {
    const { name, dtype, shape, place, strips } = tensor;
    if (!isKernelDtype(dtype)) throw new TypeError(`${name}: planned as ${dtype}`);
    const whole = strips[0]?.shape ?? shape;
    const type = place.exact === true ? "F32" : model.typeOf(dtype, whole, blocksOf(tensor));
    for (const { name: target, shape: whole } of strips) {
      // What is stored in several types becomes one tensor in the type that holds them all.
      const other = stored.get(target)?.type ?? type;
      stored.set(target, { name: target, shape: whole, type: holding(other, type) });
    }
  }
  const planned = new Map<string, PlannedGguf>();
  for (const tensor of placed) {
    const { name, dtype, shape, work, place, strips } = tensor;
    const type = stored.get(strips[0]?.name ?? "")?.type ?? "F32";
    const blocks = blocksOf(tensor);
    const arrives = work.kind === "copy" && type === blocks ? blocks : dtype;
    if (type !== arrives && isBlockDtype(type) && !isRoundedDtype(type)) {
      const target = quote(strips[0]?.name ?? place.name);
      const cause = `tensor ${target} is ${type}, to which nothing is rounded, and the adapter changes it`;
      throw new RandloraError("model", cause, "give --outtype q8_0 or f16");
    }
    if (!isKernelDtype(arrives) && !isBlockDtype(arrives)) throw new TypeError(`${name}: planned as ${arrives}`);
    const row = shape.length > 1 ? turnedShape(place, shape).slice(-1) : [1];
    const rowBytes = ggufBytes({ name, type: arrives, shape: row });
    const [rows = 0, cols = 0] = shape.slice(-2);
    // Blocks of the base are the file's.
    const turned =
      place.transposed === true && shape.length > 1 && !isBlockDtype(arrives) ? ([rows, cols] as const) : undefined;
    const unit = rowBytes * (turned?.[1] ?? rowsOf(place.order));
    const parts = strips.map(({ name: tensor, shape: whole, first, rows }): Part => {
      const rowStored = ggufBytes({ name, type, shape: whole.length > 1 ? whole.slice(-1) : [1] });
      return { tensor, at: first * rowStored, bytes: rows * rowStored };
    });
    planned.set(name, { place, dtype: arrives, type, parts, unit, rowBytes, turned, isMerged: work.kind === "merge" });
  }
  const all = [...stored.values()];
  const bytes = all.reduce((sum, tensor) => sum + ggufBytes(tensor), 0);
  const whole = all.filter(({ shape }) => shape.length > 1);
  const odd = whole.filter(({ type }) => model.isInBlocks && type === "F16").length;
  const note = `${odd} of ${whole.length} matrices are written as F16: their rows are no whole blocks of 32`;
  return { model, tensors: planned, stored: all, bytes, notes: odd > 0 ? [...model.notes, note] : model.notes };
}

/** The type that has the numbers of both, of those of MXFP4 and BF16 alike: BF16 has all of MXFP4's. */
function holding(one: GgufType, other: GgufType): GgufType {
  if (one === other) return one;
  return [one, other].every((type) => type === "MXFP4" || type === "BF16") ? "BF16" : "F32";
}

/** Writes a merge's tensors, by their names in the checkpoint and in the planned order, as a GGUF file. */
export class GgufSink {
  readonly #writer: GgufWriter;
  readonly #tensors: GgufPlan["tensors"];
  /** What has come of a tensor and is no whole unit yet. */
  #rest = new Uint8Array();
  /** The tensor that is written, and how many bytes of it have been. */
  #current = { name: "", written: 0 };
  #squaredError: number | undefined;
  /** Tensors have rows of several of the merge's, and are written in any order. */
  readonly #isSpread: boolean;

  private constructor(writer: GgufWriter, tensors: GgufPlan["tensors"], isSpread: boolean) {
    this.#writer = writer;
    this.#tensors = tensors;
    this.#isSpread = isSpread;
  }

  static async create(path: string, { model, tensors, stored }: GgufPlan): Promise<GgufSink> {
    const factors = ropeFactors(model.config).filter(() => stored.length > 0);
    const extra = factors.map(({ name, factors: of }): GgufTensor => ({ name, shape: [of.length], type: "F32" }));
    const kept = mostOf(stored.filter(({ shape }) => shape.length > 1));
    const isSpread = [...tensors.values()].some(({ place }) => place.strips !== undefined);
    const writer = await GgufWriter.create(path, model.metadata(kept), [...extra, ...stored], isSpread);
    const sink = new GgufSink(writer, tensors, isSpread);
    for (const { name, factors: of } of factors) await sink.#write(name, new Uint8Array(of.buffer), 0);
    return sink;
  }

  /** Is this tensor to come in the blocks that the base has it in? */
  takesBlocks(name: string): boolean {
    return isBlockDtype(this.#planned(name).dtype);
  }

  /** Frobenius norm of what rounding to blocks took off merged numbers; undefined: none were. */
  get blocksError(): number | undefined {
    return this.#squaredError === undefined ? undefined : Math.sqrt(this.#squaredError);
  }

  async append(name: string, bytes: Uint8Array): Promise<void> {
    const planned = this.#planned(name);
    const { type, place, dtype, unit, turned } = planned;
    if (this.#current.name !== name) this.#current = { name, written: 0 };
    const isAsItIs = type === dtype && place.order === undefined && place.numbers === undefined && turned === undefined;
    if (isAsItIs) return this.#spread(planned, bytes);
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const whole = all.length - (all.length % unit);
    this.#rest = all.slice(whole);
    if (whole > 0) await this.#spread(planned, this.#rewritten(name, planned, all.subarray(0, whole)));
  }

  async finish(): Promise<void> {
    await this.#writer.finish();
  }

  async close(): Promise<void> {
    await this.#writer.close();
  }

  /** Writes what follows of a tensor to where its rows go. */
  async #spread({ parts }: PlannedGguf, bytes: Uint8Array): Promise<void> {
    const current = this.#current;
    let [from, begin] = [0, 0];
    for (const part of parts) {
      const inside = current.written - begin;
      begin += part.bytes;
      if (inside >= part.bytes || from === bytes.length) continue;
      const some = bytes.subarray(from, from + part.bytes - inside);
      await this.#write(part.tensor, some, part.at + inside);
      from += some.length;
      current.written += some.length;
    }
  }

  async #write(tensor: string, bytes: Uint8Array, at: number): Promise<void> {
    if (this.#isSpread) await this.#writer.write(tensor, bytes, at);
    else await this.#writer.append(tensor, bytes);
  }

  #planned(name: string): PlannedGguf {
    const planned = this.#tensors.get(name);
    if (planned === undefined) throw new RangeError(`${name} is not planned`);
    return planned;
  }

  /** Whole units of a tensor as the file has them. */
  #rewritten(
    name: string,
    { place: { order, numbers }, dtype, type, rowBytes, turned, isMerged }: PlannedGguf,
    bytes: Uint8Array<ArrayBuffer>,
  ): Uint8Array {
    const rows = turned === undefined || isBlockDtype(dtype) ? bytes : transpose(bytes, ...turned, dtypeBytes(dtype));
    const ordered = order === undefined ? rows : reorder(rows, order, rowBytes);
    if (type === dtype && numbers === undefined) return ordered;
    if (isBlockDtype(dtype) || (isBlockDtype(type) && !isRoundedDtype(type)))
      throw new TypeError(`${name}: planned as ${dtype}`);
    const values = new Float32Array(bytes.length / dtypeBytes(dtype));
    widenToF32(ordered, dtype, values);
    if (numbers !== undefined) for (let i = 0; i < values.length; i++) values[i] = numbers.to(values[i] ?? 0);
    if (isRoundedDtype(type)) {
      const packed = packBlocks(values, type);
      if (isMerged)
        this.#squaredError = (this.#squaredError ?? 0) + squaredDistance(values, unpackBlocks(packed, type));
      return packed;
    }
    const tooLarge = countOverflows(values, type);
    if (tooLarge > 0) throw overflow({ label: name }, tooLarge, type);
    const out = new Uint8Array(values.length * GGUF_TYPES[type].bytes);
    roundFromF32(values, type, out);
    return out;
  }
}

/** What most of them are stored as. */
function mostOf(tensors: readonly GgufTensor[]): GgufType {
  const counts = new Map<GgufType, number>();
  for (const { type } of tensors) counts.set(type, (counts.get(type) ?? 0) + 1);
  const [most] = [...counts].toSorted(([, a], [, b]) => b - a);
  return most?.[0] ?? "F32";
}

function squaredDistance(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] ?? 0) - (b[i] ?? 0)) ** 2;
  return sum;
}
