import type { Adapter } from "../../files/adapter.ts";
import { readAllValues } from "../../files/tensors.ts";
import type { Bases } from "../../frozen/drawing/bases.ts";
import { itemAt } from "../../../files/item-at.ts";
import { fastRows, type Pairing, pairingStrides, pairOf } from "../../../compute/device/pairing.ts";
import { type BasisMatrix, readElement } from "../../../compute/device/matrix-storage.ts";
import type { Binding, Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { type DeltaBasis, type DeltaBlock, padded4 } from "../../../compute/device/families/delta.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import type { FittedLayer } from "../../method/fit.ts";
import type { DeltaSample, DeltaSource } from "../../method/plan.ts";
import { deltaSource } from "../on-device.ts";
import type { BilinearShape } from "./shape.ts";

/** A layer's share of an adapter on the GPU: λ in the order of B's columns, zeros up to a multiple of 4; γ's rows padded to whole vectors. */
export interface BoundDeltaLayer {
  readonly shape: BilinearShape;
  /** W is stored (in, out), as GPT-2's Conv1D does: its rows are ΔW's columns. */
  readonly weightIsTransposed: boolean;
  /** α/r times whatever the user multiplies it by. */
  readonly scale: number;
  readonly lambda: Binding;
  readonly gamma: Binding;
}

/** A layer whose buffers are its own. */
export interface DeltaLayerOnGpu extends BoundDeltaLayer {
  readonly lambda: DeviceBuffer;
  readonly gamma: DeviceBuffer;
}

/** The same before it is there: λ (r, n) and γ (n, cols), row-major. */
interface DeltaLayerParameters extends Omit<BoundDeltaLayer, "lambda" | "gamma"> {
  readonly lambda: Float32Array;
  readonly gamma: Float32Array;
}

/**
 * A pair of bases in GPU memory with what turns a layer's λ and γ into ΔW. A layer may be
 * smaller than the bases: it uses A[:, :m] and B[:M, :n·r].
 */
export class DeltaBases {
  readonly #device: Device;
  readonly pairing: Pairing;
  /** A, (r, cols). */
  readonly a: DeltaBasis;
  /** B̂, (rows, bases · r). */
  readonly b: DeltaBasis;

  private constructor(device: Device, a: DeltaBasis, b: DeltaBasis, pairing: Pairing) {
    this.#device = device;
    this.pairing = pairing;
    this.a = a;
    this.b = b;
  }

  /** Compiles the kernel and uploads the bases; the caller may drop its copy of them afterwards. */
  static async create(device: Device, bases: Bases, pairing: Pairing): Promise<DeltaBases> {
    const variant = { a: bases.a.storage.kind, b: bases.b.storage.kind, pairing };
    const work = [
      uploadBasis(device, "basis A", bases.a),
      uploadBasis(device, "basis B", bases.b),
      device.prepare("delta", variant),
    ] as const;
    // What fails must not leave the others at work in memory that is given back.
    await Promise.allSettled(work);
    const [a, b] = await Promise.all(work);
    return new DeltaBases(device, a, b, pairing);
  }

  /** Uploads a layer's parameters. @param device owns them. @throws RandloraError `memory` */
  layer({ lambda, gamma, ...rest }: DeltaLayerParameters, device = this.#device): DeltaLayerOnGpu {
    const { r, bases, cols, terms } = rest.shape;
    if (lambda.length !== r * bases || gamma.length !== bases * cols) {
      throw new RangeError(
        `λ of ${lambda.length} and γ of ${gamma.length} for (${r}, ${bases}) and (${bases}, ${cols})`,
      );
    }
    const order = new Float32Array(Math.ceil(terms / 16) * 16);
    const stride = pairingStrides(this.pairing, r, bases);
    for (let k = 0; k < r; k++) {
      for (let j = 0; j < bases; j++) order[k * stride.k + j * stride.j] = itemAt(lambda, k * bases + j);
    }
    const pitch = padded4(cols);
    const rows = new Float32Array(bases * pitch);
    for (let j = 0; j < bases; j++) rows.set(gamma.subarray(j * cols, (j + 1) * cols), j * pitch);
    return {
      ...rest,
      lambda: uploaded(device, "λ", order),
      gamma: uploaded(device, "γ", rows),
    };
  }

  releaseLayer(layer: DeltaLayerOnGpu): void {
    this.#device.memory.release(layer.lambda);
    this.#device.memory.release(layer.gamma);
  }

  release(): void {
    for (const buffer of [this.a.buffer, this.b.buffer]) this.#device.memory.release(buffer);
  }

  /** Records ΔW of one block of rows of W. */
  form(run: Run, { shape, weightIsTransposed, scale, lambda, gamma }: BoundDeltaLayer, block: DeltaBlock): void {
    const { rows, cols, terms, r, bases, tall } = shape;
    run.compute("delta", {
      pairing: this.pairing,
      a: this.a,
      b: this.b,
      lambda,
      gamma,
      rows,
      cols,
      terms,
      fastCount: fastRows(this.pairing, r, bases),
      transposed: tall === weightIsTransposed,
      scale,
      block,
    });
  }
}

/** What the kernel's ±1, or its dense draws, are multiplied by; 1 where it reads true values. */
function basisValue({ storage }: BasisMatrix): number {
  return storage.kind === "ternary" || storage.kind === "philox" ? storage.scale : 1;
}

/** Copied in pieces, each waited for: the queue would otherwise stage a second copy of the whole. */
const UPLOAD_BYTES = 16 * 2 ** 20;

async function uploadBasis(gpu: Device, label: string, basis: BasisMatrix): Promise<DeltaBasis> {
  const { storage, stride } = basis;
  const known = { stride, storage: storage.kind, value: basisValue(basis) };
  if (storage.kind === "philox") return { ...known, buffer: gpu.memory.allocate(label, 16), philox: storage };
  const { data } = storage;
  const buffer = gpu.memory.allocate(label, data.byteLength);
  for (let at = 0; at < data.byteLength; at += UPLOAD_BYTES) {
    const size = Math.min(UPLOAD_BYTES, data.byteLength - at);
    gpu.write(buffer, new Uint8Array(data.buffer, data.byteOffset + at, size), at);
    if (at + size < data.byteLength) await gpu.idle();
  }
  return { ...known, buffer, philox: undefined };
}

/** A layer's share of an adapter. `scale` is α/r times whatever the user multiplies it by. */
export interface DeltaLayer {
  readonly shape: BilinearShape;
  /** λ (r, n), row-major. */
  readonly lambda: ArrayLike<number>;
  /** γ (n, cols), row-major. */
  readonly gamma: ArrayLike<number>;
  readonly scale: number;
  readonly pairing: Pairing;
}

const range = (length: number): number[] => Array.from({ length }, (_, index) => index);

/**
 * ΔW (out, in) in double precision by the plain sum over n·r terms, at `sample.rows` × `sample.cols` (everything by
 * default), row-major: scale · B̂Ŝ, or the transpose of that.
 * The yardstick for the kernel and for `merge --verify`; slow.
 */
export function deltaReference(bases: Bases, layer: DeltaLayer, sample?: DeltaSample): Float64Array {
  const { shape, scale } = layer;
  const { terms, tall } = shape;
  const rows = sample?.rows ?? range(shape.out);
  const cols = sample?.cols ?? range(shape.in);
  // One row of B̂ and one column of Ŝ, each gathered once.
  const left = gather(tall ? rows : cols, terms, (o, q) => readElement(bases.b, o, q));
  const right = gather(tall ? cols : rows, terms, (c, q) => scaledA(bases, layer, q, c));
  const delta = new Float64Array(rows.length * cols.length);
  for (let i = 0; i < rows.length; i++) {
    for (let j = 0; j < cols.length; j++) {
      const o = (tall ? i : j) * terms;
      const c = (tall ? j : i) * terms;
      let sum = 0;
      for (let p = 0; p < terms; p++) sum += itemAt(left, o + p) * itemAt(right, c + p);
      delta[i * cols.length + j] = scale * sum;
    }
  }
  return delta;
}

/** Element (q, c) of Ŝ: λ[k, j]·A[k, c]·γ[j, c]. */
function scaledA(bases: Bases, { shape, pairing, lambda, gamma }: DeltaLayer, q: number, c: number): number {
  const { k, j } = pairOf(pairing, q, shape.r, shape.bases);
  return itemAt(lambda, k * shape.bases + j) * readElement(bases.a, k, c) * itemAt(gamma, j * shape.cols + c);
}

function gather(
  indices: readonly number[],
  terms: number,
  element: (index: number, term: number) => number,
): Float64Array {
  const values = new Float64Array(indices.length * terms);
  indices.forEach((index, i) => {
    for (let p = 0; p < terms; p++) values[i * terms + p] = element(index, p);
  });
  return values;
}

/** One adapted weight: ΔW = scale · B̂Ŝ(λ, γ), or the transpose of that. */
export interface BilinearLayer extends FittedLayer<"lambda" | "gamma"> {
  readonly sizes: BilinearShape;
}

/** What ΔW of a module is made of. */
export interface BilinearPlan {
  readonly adapter: Adapter;
  readonly pairing: Pairing;
  readonly scale: number;
  readonly layers: readonly BilinearLayer[];
}

/** ΔW of layers that share a pair of bases. */
export function bilinearDeltas({ adapter, pairing, scale, layers }: BilinearPlan, bases: Bases): DeltaSource {
  return deltaSource(layers, {
    share: (gpu) => DeltaBases.create(gpu, bases, pairing),
    async place({ sizes: shape, conv1d, tensors }, shared, { gpu, factor }) {
      const parameters = await readAllValues(adapter, tensors);
      const layer = shared.layer({ shape, weightIsTransposed: conv1d, scale: scale * factor, ...parameters }, gpu);
      return (run, block) => shared.form(run, layer, block);
    },
    async reference({ sizes: shape, tensors }, { factor, sample }) {
      const parameters = await readAllValues(adapter, tensors);
      return deltaReference(bases, { shape, ...parameters, scale: scale * factor, pairing }, sample);
    },
  });
}
