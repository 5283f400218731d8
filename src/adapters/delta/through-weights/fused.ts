import type { DeviceBuffer } from "../../../compute/device/device.ts";
import { elementBytes, type Tensor } from "../../../compute/tensor/tensor.ts";

/** Rows of a matrix: what is needed of a module to find its place. */
export interface WeightRows {
  readonly name: string;
  /** W (out, in) as stored: whole rows of the matrix that the decoder multiplies with, which fills its buffer. */
  readonly weight: Tensor;
  /** That matrix has those of so many experts, one below the other; left out: it is no mixture's. */
  readonly experts?: number | undefined;
  readonly shape: { readonly out: number };
}

/** One matrix that the decoder multiplies with, and the modules that are adapted in it. */
export interface FusedShape<S> {
  /** Rows of the whole matrix, those of other modules included. */
  readonly out: number;
  readonly in: number;
  readonly experts?: number | undefined;
  readonly modules: readonly S[];
}

/** A matrix that the decoder multiplies with, and the adapted modules among its rows. */
export interface FusedMatrix<M extends WeightRows = WeightRows> {
  readonly weight: Tensor;
  readonly shape: FusedShape<M["shape"]>;
  /** In the order of their rows. */
  readonly parts: readonly FusedPart<M>[];
}

export interface FusedPart<M extends WeightRows = WeightRows> {
  readonly module: M;
  /** The module's first row of the matrix. */
  readonly first: number;
}

/**
 * Finds the matrices that modules are rows of: a decoder holds q, k and v joined in one, gate and up in another. In the
 * order in which the modules name them.
 * @throws RangeError when a module is no whole rows of its buffer, or shares rows with another
 */
export function fuse<M extends WeightRows>(modules: readonly M[]): FusedMatrix<M>[] {
  const groups = new Map<DeviceBuffer, M[]>();
  for (const module of modules) {
    const group = groups.get(module.weight.buffer);
    if (group === undefined) groups.set(module.weight.buffer, [module]);
    else group.push(module);
  }
  return [...groups].map(([buffer, group]) => fuseOne(buffer, group));
}

function fuseOne<M extends WeightRows>(buffer: DeviceBuffer, modules: readonly M[]): FusedMatrix<M> {
  const parts = modules.map(partOf).toSorted((left, right) => left.first - right.first);
  const view = parts[0]?.module.weight;
  if (view === undefined) throw new RangeError("a matrix without modules");
  const out = Math.floor((view.scalesAt ?? buffer.size) / (view.pitch * elementBytes(view.dtype)));
  const weight: Tensor = { ...view, offset: 0, shape: [out, view.shape[1]] };
  let end = 0;
  for (const { module, first } of parts) {
    const rows = module.shape.out;
    if (first < end || first + rows > out) throw new RangeError(`${module.name}: its rows are another module's`);
    end = first + rows;
  }
  const { experts } = parts[0]?.module ?? {};
  const shapes = parts.map(({ module }) => module.shape);
  return { weight, parts, shape: { out, in: weight.shape[1], experts, modules: shapes } };
}

function partOf<M extends WeightRows>(module: M): FusedPart<M> {
  const { offset, pitch } = module.weight;
  if (offset % pitch !== 0) throw new RangeError(`${module.name}: it begins within a row`);
  return { module, first: offset / pitch };
}
