import { RandloraError } from "../../../files/errors.ts";
import { quote } from "../../../files/failure.ts";
import { ggufBytes, type GgufTensor, type GgufType } from "../../../files/gguf/format.ts";
import type { Checkpoint } from "../../../files/safetensors/checkpoint.ts";
import { isBlockDtype, isKernelDtype, isRoundedDtype, type StoredDtype } from "../../../compute/device/dtype.ts";
import { type GgufPlace, rowsOf } from "../../../models/gguf/place.ts";
import { ggufPlace, stripsOf, turnedShape } from "../../../models/gguf/names.ts";
import type { OutputTensor } from "../plan.ts";
import type { GgufModel } from "./model.ts";

/** A tensor of the output: what arrives, and what is written of it. */
export interface PlannedGguf {
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
