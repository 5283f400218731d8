import { layerOf } from "../../adapters/base/layers.ts";
import type { Dtype } from "../../files/safetensors/dtype.ts";
import type { GgufBlocks } from "../../files/gguf/format.ts";

/** What a tensor is stored as. */
type StoredAs = Dtype | GgufBlocks;

/** What is counted of a tensor. */
export interface CountedTensor {
  readonly name: string;
  readonly dtype: StoredAs;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** Tensors of one shape and type whose names differ in numbers alone: `model.layers.*.mlp.up_proj.weight`. */
export interface TensorGroup {
  readonly name: string;
  readonly dtype: StoredAs;
  readonly shape: readonly number[];
  readonly tensors: number;
  /** Numbers in all of them. */
  readonly parameters: number;
  readonly bytes: number;
}

/** Numbers and bytes of tensors, in all and by what they have in common. */
export interface TensorCounts {
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  /** In the order in which their first tensors come. */
  readonly groups: readonly TensorGroup[];
  /** By layer, in ascending order; what stands in none is left out. */
  readonly layers: readonly { readonly layer: number; readonly parameters: number }[];
  readonly dtypes: Readonly<Partial<Record<StoredAs, { readonly parameters: number; readonly bytes: number }>>>;
}

/** Counts tensors. A tensor's layer is the first number among the segments of its name. */
export function countTensors(all: Iterable<CountedTensor>): TensorCounts {
  const groups = new Map<string, { -readonly [K in keyof TensorGroup]: TensorGroup[K] }>();
  const layers = new Map<number, number>();
  const dtypes: Partial<Record<StoredAs, { parameters: number; bytes: number }>> = {};
  const sum = { tensors: 0, parameters: 0, bytes: 0 };
  for (const { name, dtype, shape, bytes } of all) {
    const elements = shape.reduce((product, size) => product * size, 1);
    const kind = name.replaceAll(/(^|\.)\d+(?=\.|$)/g, "$1*");
    const key = JSON.stringify([kind, dtype, shape]);
    const group = groups.get(key) ?? { name: kind, dtype, shape, tensors: 0, parameters: 0, bytes: 0 };
    groups.set(key, group);
    const ofDtype = (dtypes[dtype] ??= { parameters: 0, bytes: 0 });
    for (const one of [group, ofDtype, sum]) {
      one.parameters += elements;
      one.bytes += bytes;
    }
    group.tensors++;
    sum.tensors++;
    const layer = layerOf(name);
    if (layer !== undefined) layers.set(layer, (layers.get(layer) ?? 0) + elements);
  }
  return {
    ...sum,
    groups: [...groups.values()],
    layers: [...layers].map(([layer, parameters]) => ({ layer, parameters })).toSorted((a, b) => a.layer - b.layer),
    dtypes,
  };
}
