import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Kernel, KernelSource } from "../../gpu/pipelines.ts";
import type { Binding, Stream } from "../../gpu/stream.ts";
import { upload, uploaded } from "../../gpu/transfer.ts";
import { deltaKernel } from "../../kernels/delta.ts";
import { defaultStaging, type Staging } from "../../kernels/staging.ts";
import type { DeltaBlock } from "./delta-block.ts";
import { type BasisOnGpu, type DeltaDispatch, deltaDispatches, type DeltaOperands, padded4 } from "./delta-dispatch.ts";
import type { Bases } from "../../bases/draw.ts";
import { fastRows, type Pairing, pairingStrides } from "../../kernels/pairing.ts";
import type { BilinearShape } from "./shape.ts";
import type { BasisMatrix } from "../../bases/storage.ts";
import { productTile, type Tile } from "../../kernels/product.ts";

/** What is known of a layer before anything is on the GPU. */
interface DeltaLayerShape {
  readonly shape: BilinearShape;
  /** W is stored (in, out), as GPT-2's Conv1D does: its rows are ΔW's columns. */
  readonly weightIsTransposed: boolean;
  /** α/r times whatever the user multiplies it by. */
  readonly scale: number;
}

/** A layer's share of an adapter: λ (r, n) and γ (n, cols), row-major. */
export interface DeltaLayerParameters extends DeltaLayerShape {
  readonly lambda: Float32Array;
  readonly gamma: Float32Array;
}

/** The same on the GPU: λ in the order of B's columns, zeros up to a multiple of 4; γ's rows padded to whole vectors. */
export interface BoundDeltaLayer extends DeltaLayerShape {
  readonly lambda: Binding;
  readonly gamma: Binding;
}

/** A layer whose buffers are its own. */
export interface DeltaLayerOnGpu extends BoundDeltaLayer {
  readonly lambda: GpuBuffer;
  readonly gamma: GpuBuffer;
}

/**
 * A pair of bases in GPU memory with the kernel that turns a layer's λ and γ into ΔW (delta.wgsl). A layer may be
 * smaller than the bases: it uses A[:, :m] and B[:M, :n·r].
 */
export class DeltaBases {
  readonly #gpu: Gpu;
  readonly #kernel: Kernel;
  readonly #tile: Tile;
  /** The kernel of `dispatches`. */
  readonly source: KernelSource;
  readonly pairing: Pairing;
  /** A, (r, cols). */
  readonly a: BasisOnGpu;
  /** B̂, (rows, bases · r). */
  readonly b: BasisOnGpu;

  private constructor(
    gpu: Gpu,
    bases: { readonly a: BasisOnGpu; readonly b: BasisOnGpu },
    pairing: Pairing,
    staging: Staging,
    source: KernelSource,
    kernel: Kernel,
  ) {
    this.#gpu = gpu;
    this.pairing = pairing;
    this.source = source;
    this.#kernel = kernel;
    this.#tile = productTile(staging);
    this.a = bases.a;
    this.b = bases.b;
  }

  /** Compiles the kernel and uploads the bases; the caller may drop its copy of them afterwards. */
  static async create(
    gpu: Gpu,
    bases: Bases,
    pairing: Pairing,
    staging: Staging = defaultStaging(gpu),
  ): Promise<DeltaBases> {
    const source = deltaKernel({ a: bases.a.storage.kind, b: bases.b.storage.kind, pairing, staging });
    const [kernel, a, b] = await Promise.all([
      gpu.pipelines.get(source),
      uploadBasis(gpu, "basis A", bases.a),
      uploadBasis(gpu, "basis B", bases.b),
    ]);
    return new DeltaBases(gpu, { a, b }, pairing, staging, source, kernel);
  }

  /**
   * Uploads a layer's parameters.
   * @throws RandloraError `memory`
   */
  layer({ lambda, gamma, ...rest }: DeltaLayerParameters): DeltaLayerOnGpu {
    const { r, bases, cols, terms } = rest.shape;
    const order = new Float32Array(Math.ceil(terms / 16) * 16);
    const stride = pairingStrides(this.pairing, r, bases);
    for (let k = 0; k < r; k++) {
      for (let j = 0; j < bases; j++) order[k * stride.k + j * stride.j] = lambda[k * bases + j] ?? 0;
    }
    const pitch = padded4(cols);
    const rows = new Float32Array(bases * pitch);
    for (let j = 0; j < bases; j++) rows.set(gamma.subarray(j * cols, (j + 1) * cols), j * pitch);
    return {
      ...rest,
      lambda: uploaded(this.#gpu, "λ", order),
      gamma: uploaded(this.#gpu, "γ", rows),
    };
  }

  releaseLayer(layer: DeltaLayerOnGpu): void {
    this.#gpu.memory.release(layer.lambda);
    this.#gpu.memory.release(layer.gamma);
  }

  release(): void {
    for (const buffer of [this.a.buffer, this.b.buffer]) this.#gpu.memory.release(buffer);
  }

  /** Records the dispatches for one block of rows of W. */
  form(stream: Stream, layer: BoundDeltaLayer, block: DeltaBlock): void {
    for (const { parameters, buffers, workgroups } of this.dispatches(layer, block)) {
      stream.dispatch(this.#kernel, parameters, buffers, workgroups);
    }
  }

  /** What `form` dispatches, for those who record otherwise; the kernel is `source`. */
  dispatches(layer: BoundDeltaLayer, block: DeltaBlock): DeltaDispatch[] {
    return deltaDispatches(this.#gpu, this.#tile, this.#operands(layer), block);
  }

  #operands({ shape, weightIsTransposed, scale, lambda, gamma }: BoundDeltaLayer): DeltaOperands {
    const { rows, cols, terms, r, bases, tall } = shape;
    return {
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
    };
  }
}

/** What the kernel's ±1, or its dense draws, are multiplied by; 1 where it reads true values. */
function basisValue({ storage }: BasisMatrix): number {
  return storage.kind === "ternary" || storage.kind === "philox" ? storage.scale : 1;
}

function basisRowBytes({ storage, stride }: BasisMatrix): number {
  switch (storage.kind) {
    case "philox":
      return 4;
    case "ternary":
      return stride / 4;
    default:
      return stride * storage.data.BYTES_PER_ELEMENT;
  }
}

/** Copied in pieces, each waited for: the queue would otherwise stage a second copy of the whole. */
const UPLOAD_BYTES = 16 * 2 ** 20;

async function uploadBasis(gpu: Gpu, label: string, basis: BasisMatrix): Promise<BasisOnGpu> {
  const { storage, stride } = basis;
  const known = { stride, rowBytes: basisRowBytes(basis), value: basisValue(basis) };
  if (storage.kind === "philox") return { ...known, buffer: gpu.memory.allocate(label, 16), philox: storage };
  const { data } = storage;
  const buffer = gpu.memory.allocate(label, data.byteLength);
  for (let at = 0; at < data.byteLength; at += UPLOAD_BYTES) {
    const size = Math.min(UPLOAD_BYTES, data.byteLength - at);
    upload(gpu, buffer, new Uint8Array(data.buffer, data.byteOffset + at, size), at);
    if (at + size < data.byteLength) await gpu.idle();
  }
  return { ...known, buffer, philox: undefined };
}
