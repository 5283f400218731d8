import { GGUF_TYPES, type GgufTensor, type GgufType } from "../../../files/gguf/format.ts";
import { GgufWriter } from "../../../files/gguf/writer.ts";
import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { transpose } from "../../../files/safetensors/transpose.ts";
import { roundFromF32, widenToF32 } from "../../../files/safetensors/numbers.ts";
import { isBlockDtype, isRoundedDtype } from "../../../compute/device/dtype.ts";
import { packBlocks, unpackBlocks } from "../../../models/read-weights.ts";
import { ropeFactors } from "../../../models/gguf/rope-factors.ts";
import { reorder } from "../../../models/gguf/place.ts";
import { countOverflows, overflow } from "../stored-weight.ts";
import type { GgufPlan, PlannedGguf } from "./plan.ts";

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
