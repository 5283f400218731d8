import { realpathSync } from "node:fs";
import { dirname } from "node:path";
import { type BaseModel, isOutputEmbedding } from "../base/base.ts";
import type { AdaptedLayer } from "../base/targets.ts";
import type { Adapter } from "../files/adapter.ts";
import type { AdapterPlan } from "../method/plan.ts";
import { RandloraError } from "../../files/errors.ts";
import { isKernelDtype } from "../../compute/device/dtype.ts";
import type { Checkpoint } from "../../files/safetensors/checkpoint.ts";
import { type Dtype, isFloat, NAMED_DTYPES, type OutputDtype } from "../../files/safetensors/dtype.ts";
import { haveSameBytes } from "../../files/equal-files.ts";
import { oneLine, quote } from "../../files/failure.ts";
import type { TensorFile, TensorInfo } from "../../files/safetensors/header.ts";
import type { PlannedTensor } from "../../files/safetensors/writer.ts";
import { type NewHead, newHead, otherHead, refuseMixedHead, untie } from "./heads.ts";

/** Bytes that can be read by ranges: a tensor of the base, or one of an adapter. */
export interface TensorSource {
  /** File and tensor, for messages. */
  readonly label: string;
  readonly dtype: Dtype;
  readonly bytes: number;
  /** An adapter's own tensor, which training made: NaN there is an error. */
  readonly fromAdapter: boolean;
  read(out: Uint8Array, start?: number): Promise<void>;
}

/** One adapter's ΔW for one weight. */
export interface PlannedDelta {
  /** Index of the adapter on the command line. */
  readonly adapter: number;
  /** Index among that adapter's layers. */
  readonly index: number;
  readonly layer: AdaptedLayer;
}

/** What becomes of one tensor: copied as bytes, rounded to another dtype, or merged. */
export type TensorWork =
  | { readonly kind: "copy"; readonly tensor: string }
  | { readonly kind: "convert"; readonly source: TensorSource }
  | { readonly kind: "merge"; readonly source: TensorSource; readonly deltas: readonly PlannedDelta[] };

/** A tensor of the output, in its place in the output's order. */
export interface OutputTensor extends PlannedTensor {
  readonly work: TensorWork;
}

export interface MergePlan {
  readonly tensors: readonly OutputTensor[];
  /** Tensors that ΔW is added to. */
  readonly merged: number;
  /** A tied output embedding became a tensor of its own: config.json must say so. */
  readonly untied: boolean;
  /** A classifier that the base has not, or another one than its own: config.json must name its classes. */
  readonly head: NewHead | undefined;
  /** What the user should know: one line each. */
  readonly notes: readonly string[];
}

/** The dtype of every floating-point tensor, or a rule for each. */
export type MergeDtype = OutputDtype | ((name: string, stored: Dtype, shape: readonly number[]) => Dtype);

/**
 * Decides what becomes of every tensor of the base: the base's order is kept, new tensors come last.
 * @throws RandloraError `usage` for an adapter that is given twice; `adapter` where two replace one tensor, or one brings half of a head, or a weight's dtype cannot be computed with
 */
export function planMerge(
  checkpoint: Checkpoint,
  base: BaseModel,
  adapters: readonly AdapterPlan[],
  dtype: MergeDtype,
): MergePlan {
  const sources = new Map<string, TensorSource>();
  const replacedBy = new Map<string, string>();
  const tied = new Set<string>();
  const deltas = new Map<string, PlannedDelta[]>();
  const added = new Map<string, { dtype: Dtype; shape: readonly number[] }>();
  const folders = new Map(adapters.map(({ adapter }) => [adapter.path, dirname(adapter.file)]));

  refuseTwice(adapters);
  for (const { adapter, replacements } of adapters) {
    for (const { tensor, from, exists, tied: staysTied = false } of replacements) {
      // The base does not store it: it is the other one.
      if (staysTied && !exists) continue;
      const other = replacedBy.get(tensor);
      if (other !== undefined) {
        const cause = `${oneLine(other)} and ${oneLine(adapter.path)} both replace tensor ${quote(tensor)}`;
        throw new RandloraError("adapter", cause, "merge only one of them");
      }
      replacedBy.set(tensor, adapter.path);
      if (staysTied) tied.add(tensor);
      sources.set(tensor, {
        label: `${oneLine(adapter.file)}: ${quote(from.name)}`,
        dtype: from.dtype,
        bytes: from.bytes,
        fromAdapter: true,
        read: (out, start) => from.read(out, start),
      });
      if (!exists) added.set(tensor, { dtype: from.dtype, shape: from.shape });
    }
  }
  refuseMixedHead(base, replacedBy);
  adapters.forEach(({ layers }, adapter) => {
    for (const [index, layer] of layers.entries()) {
      const list = deltas.get(layer.tensor) ?? [];
      list.push({ adapter, index, layer });
      deltas.set(layer.tensor, list);
      if (!checkpoint.tensors.has(layer.tensor)) added.set(layer.tensor, layer);
    }
  });
  const unknown = [...replacedBy.keys()].filter((name) => added.has(name));
  const { twins, untied, notes } = untie(base, {
    adapted: new Set(deltas.keys()),
    replaced: new Set(replacedBy.keys()),
    tied,
  });
  for (const { tensor, source, values, dtype: stored, shape } of twins) {
    added.set(tensor, { dtype: stored, shape });
    const trained = values === "new" ? sources.get(source) : undefined;
    sources.set(tensor, trained ?? baseSource(checkpoint, source));
  }

  const outputDtype = (name: string, stored: Dtype, shape: readonly number[]): Dtype => {
    if (typeof dtype === "function") return dtype(name, stored, shape);
    return dtype === "keep" || !isFloat(stored) ? stored : NAMED_DTYPES[dtype];
  };
  const plan = (name: string, stored: Dtype, shape: readonly number[]): OutputTensor => {
    const target = outputDtype(name, stored, shape);
    const delta = deltas.get(name);
    const source = sources.get(name);
    if (delta !== undefined) {
      if (!isKernelDtype(target)) {
        const cause = `tensor ${quote(name)} is ${stored}, which weights are not merged in`;
        throw new RandloraError("adapter", `${oneLine(base.path)}: ${cause}`, "give --dtype f32 (or bf16, f16)");
      }
      const weight = source ?? baseSource(checkpoint, delta[0]?.layer.source ?? name);
      return { name, dtype: target, shape, work: { kind: "merge", source: weight, deltas: delta } };
    }
    if (source !== undefined) return { name, dtype: target, shape, work: { kind: "convert", source } };
    if (target === stored) return { name, dtype: target, shape, work: { kind: "copy", tensor: name } };
    return { name, dtype: target, shape, work: { kind: "convert", source: baseSource(checkpoint, name) } };
  };
  const tensors = [...checkpoint.tensors].map(([name, { info }]): OutputTensor => {
    return { ...plan(name, info.dtype, info.shape), whole: info.whole };
  });
  for (const [name, { dtype: stored, shape }] of added) tensors.push(plan(name, stored, shape));
  const of = unknown.map((name) => replacedBy.get(name));
  const fresh = newHead(base, added, of.every((path) => path === of[0]) ? folders.get(of[0] ?? "") : undefined);
  const news = fresh?.architecture === undefined ? newTensors(unknown, base) : [];
  const head = fresh ?? otherHead(base, folders.get(replacedBy.get("classifier.weight") ?? ""));
  return { tensors, merged: deltas.size, untied, head, notes: [...notes, ...news] };
}

/** Its ΔW would be added twice, by whatever names: a run is its best adapter, too, which may be a copy of its last one. */
function refuseTwice(plans: readonly AdapterPlan[]): void {
  for (const [index, { adapter }] of plans.entries()) {
    const other = plans.slice(0, index).find((one) => isSameAdapter(one.adapter, adapter))?.adapter;
    if (other === undefined) continue;
    const [path, before] = [oneLine(adapter.path), oneLine(other.path)];
    const cause =
      path === before ? `${path}: the adapter is given twice` : `${before} and ${path} are the same adapter`;
    throw new RandloraError("usage", cause, "give it once; --scale 2 doubles what it adds");
  }
}

function isSameAdapter(a: Adapter, b: Adapter): boolean {
  const [file, other] = [realpathSync(a.file), realpathSync(b.file)];
  return file === other || (Bun.deepEquals(a.settings, b.settings) && haveSameBytes(file, other));
}

/** An adapter's own tensors beside the base's: a head for another task, as a rule. */
function newTensors(names: readonly string[], base: BaseModel): string[] {
  const heads = names.filter((name) => !isOutputEmbedding(name.slice(0, name.lastIndexOf("."))));
  const [first] = heads;
  if (first === undefined) return [];
  const which = heads.length === 1 ? quote(first) : `${quote(first)} and ${heads.length - 1} more`;
  return [`the adapter brings ${which}, which ${oneLine(base.path)} has not: load the result with a class that has it`];
}

/** A tensor of a file. */
export function fileSource(file: Pick<TensorFile, "path" | "read">, info: TensorInfo): TensorSource {
  return {
    label: `${oneLine(file.path)}: ${quote(info.name)}`,
    dtype: info.dtype,
    bytes: info.bytes,
    fromAdapter: false,
    read: (out, start) => file.read(info, out, start),
  };
}

function baseSource(checkpoint: Checkpoint, name: string): TensorSource {
  const { file, info } = checkpoint.get(name);
  return fileSource(file, info);
}
