import type { DeviceBuffer } from "../../compute/device/device.ts";
import { partCols, type Tensor } from "../../compute/tensor/tensor.ts";

/** Rows of one of the decoder's matrices that are one module's weight. */
export interface Part {
  /** The module's dotted path. */
  readonly module: string;
  /** (out, in): a view. */
  readonly weight: Tensor;
  /** First output of the module among those of the matrix. */
  readonly first: number;
}

/**
 * The decoder keeps q, k and v of a layer in one matrix, and gate and up in another: which modules each matrix consists
 * of, in the order of its rows.
 * @param tensors the checkpoint's tensors by name, as views
 */
export function partsOfMatrices(tensors: ReadonlyMap<string, Tensor>): ReadonlyMap<DeviceBuffer, readonly Part[]> {
  const parts = new Map<DeviceBuffer, Part[]>();
  for (const [name, weight] of tensors) {
    if (!name.endsWith(".weight")) continue;
    const part = { module: name.slice(0, -".weight".length), weight, first: weight.offset / weight.pitch };
    const others = parts.get(weight.buffer);
    if (others === undefined) parts.set(weight.buffer, [part]);
    else others.push(part);
  }
  for (const list of parts.values()) list.sort((a, b) => a.first - b.first);
  return parts;
}

/**
 * Finds where a module's weight lies, and of how many experts the matrix is that it is a part of.
 * @param tensors as of {@link partsOfMatrices}
 */
export function weightFinder(tensors: ReadonlyMap<string, Tensor>): (tensor: string) => PlacedWeight {
  const mixtures = new Map<DeviceBuffer, { experts: number; rows: number }>();
  for (const [name, { buffer, offset, pitch, shape }] of tensors) {
    const [, expert] = /\.experts\.(\d+)\./.exec(name) ?? [];
    if (expert === undefined) continue;
    const { experts, rows } = mixtures.get(buffer) ?? { experts: 0, rows: 0 };
    const found = { experts: Math.max(experts, Number(expert) + 1), rows: Math.max(rows, offset / pitch + shape[0]) };
    mixtures.set(buffer, found);
  }
  return (tensor) => {
    const weight = tensors.get(tensor);
    if (weight === undefined) throw new RangeError(`${tensor} is no tensor of the decoder`);
    const { experts, rows = Infinity } = mixtures.get(weight.buffer) ?? {};
    return { weight, experts, column: (weight.offset / weight.pitch) % (rows / (experts ?? 1)) };
  };
}

/** Where a module's weight lies. */
export interface PlacedWeight {
  /** (out, in): a view. */
  readonly weight: Tensor;
  /** Those whose matrices lie one below the other there; undefined: it is no mixture's. */
  readonly experts: number | undefined;
  /** The module's first in the product with that matrix, or with one expert's. */
  readonly column: number;
}

/** The columns of an output, or of a bias, that belong to a part. */
export function columnsOf(tensor: Tensor, { first, weight }: Part): Tensor {
  const [count] = weight.shape;
  return first === 0 && count === tensor.shape[1] ? tensor : partCols(tensor, first, count);
}
