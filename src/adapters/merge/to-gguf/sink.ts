import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { GGUF_TYPES, ggufBytes, type GgufTensor, type GgufType } from "../../../files/gguf/format.ts";
import { GgufWriter } from "../../../files/gguf/writer.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { dtypeBytes } from "../../../files/safetensors/dtype.ts";
import { roundFromF32, widenToF32 } from "../../../files/safetensors/numbers.ts";
import { isBlockDtype, isKernelDtype, isRoundedDtype, type StoredDtype } from "../../../compute/device/dtype.ts";
import { packBlocks, unpackBlocks } from "../../../models/gguf/blocks.ts";
import { type GgufPlace, ggufPlace } from "../../../models/gguf/names.ts";
import { ropeFactors } from "../../../models/gguf/rope-factors.ts";
import { permuteRows } from "../../../models/gguf/rows.ts";
import { countOverflows, overflow } from "../finite.ts";
import type { OutputTensor } from "../plan.ts";
import type { GgufModel } from "./model.ts";

/** A tensor of the output: what arrives, and what is written of it. */
interface Planned {
  readonly place: GgufPlace;
  /** Of what arrives; blocks: those of the base, which stay what they are. */
  readonly dtype: StoredDtype;
  readonly isMerged: boolean;
  readonly tensor: GgufTensor;
  /** Bytes that are rewritten together: a row, or a head of rows that change places. */
  readonly unit: number;
  readonly rowBytes: number;
}

/** The tensors of a GGUF file, from those of a merge. */
export interface GgufPlan {
  readonly model: GgufModel;
  readonly tensors: ReadonlyMap<string, Planned>;
  /** Bytes of all tensors. */
  readonly bytes: number;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/** Which of a merge's tensors the file holds, and how. @throws RandloraError `model` for one that has no place there */
export function planGguf(model: GgufModel, tensors: readonly OutputTensor[], base: Checkpoint): GgufPlan {
  const planned = new Map<string, Planned>();
  let bytes = 0;
  for (const { name, dtype, shape, work } of tensors) {
    const place = ggufPlace(name, model.config);
    if (place === undefined) continue;
    if (!isKernelDtype(dtype)) throw new TypeError(`${name}: planned as ${dtype}`);
    const blocks = base.tensors.get(name)?.info.blocks?.dtype;
    const type = model.typeOf(dtype, shape, blocks);
    const tensor = { name: place.name, shape, type };
    const arrives = work.kind === "copy" && type === blocks ? blocks : dtype;
    if (type !== arrives && isBlockDtype(type) && !isRoundedDtype(type)) {
      const cause = `tensor ${quote(place.name)} is ${type}, to which nothing is rounded, and the adapter changes it`;
      throw new RandloraError("model", cause, "give --outtype q8_0 or f16");
    }
    const rowBytes = ggufBytes({ name, type: arrives, shape: shape.length > 1 ? shape.slice(1) : [1] });
    const unit = rowBytes * Math.max(1, place.headSize);
    planned.set(name, { place, dtype: arrives, tensor, unit, rowBytes, isMerged: work.kind === "merge" });
    bytes += ggufBytes(tensor);
  }
  const whole = [...planned.values()].filter(({ tensor }) => tensor.shape.length > 1);
  const odd = whole.filter(({ tensor }) => model.isInBlocks && tensor.type === "F16").length;
  const note = `${odd} of ${whole.length} matrices are written as F16: their rows are no whole blocks of 32`;
  return { model, tensors: planned, bytes, notes: odd > 0 ? [...model.notes, note] : model.notes };
}

/** Writes a merge's tensors, by their names in the checkpoint and in the planned order, as a GGUF file. */
export class GgufSink {
  readonly #writer: GgufWriter;
  readonly #tensors: GgufPlan["tensors"];
  /** What has come of a tensor and is no whole unit yet. */
  #rest = new Uint8Array();
  #squaredError: number | undefined;

  private constructor(writer: GgufWriter, tensors: GgufPlan["tensors"]) {
    this.#writer = writer;
    this.#tensors = tensors;
  }

  static async create(path: string, { model, tensors }: GgufPlan): Promise<GgufSink> {
    const listed = [...tensors.values()].map(({ tensor }) => tensor);
    const factors = ropeFactors(model.config).filter(() => listed.length > 0);
    const extra = factors.map(({ name, factors: of }): GgufTensor => ({ name, shape: [of.length], type: "F32" }));
    const kept = mostOf(listed.filter(({ shape }) => shape.length > 1));
    const writer = await GgufWriter.create(path, model.metadata(kept), [...extra, ...listed]);
    for (const { name, factors: of } of factors) await writer.append(name, new Uint8Array(of.buffer));
    return new GgufSink(writer, tensors);
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
    const { tensor, place, dtype, unit } = planned;
    if (tensor.type === dtype && place.headSize === 0 && place.offset === 0) {
      return this.#writer.append(tensor.name, bytes);
    }
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const whole = all.length - (all.length % unit);
    this.#rest = all.slice(whole);
    if (whole > 0) await this.#writer.append(tensor.name, this.#rewritten(name, planned, all.subarray(0, whole)));
  }

  async finish(): Promise<void> {
    await this.#writer.finish();
  }

  async close(): Promise<void> {
    await this.#writer.close();
  }

  #planned(name: string): Planned {
    const planned = this.#tensors.get(name);
    if (planned === undefined) throw new RangeError(`${name} is not planned`);
    return planned;
  }

  /** Whole units of a tensor as the file has them. */
  #rewritten(name: string, { place, dtype, tensor, rowBytes, unit, isMerged }: Planned, bytes: Uint8Array): Uint8Array {
    const { type } = tensor;
    const ordered = place.headSize > 0 ? permuteRows(bytes, unit / rowBytes, rowBytes) : bytes;
    if (type === dtype && place.offset === 0) return ordered;
    if (isBlockDtype(dtype) || type === "Q6_K") throw new TypeError(`${name}: planned as ${dtype}`);
    const values = new Float32Array(bytes.length / dtypeBytes(dtype));
    widenToF32(ordered, dtype, values);
    if (place.offset !== 0) for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) + place.offset;
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
