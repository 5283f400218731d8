import type { Gpu } from "../../gpu/gpu.ts";
import type { GpuBuffer } from "../../gpu/memory.ts";
import type { Kernel, KernelSource } from "../../gpu/pipelines.ts";
import type { Binding, Stream, Workgroups } from "../../gpu/stream.ts";
import { upload, uploaded } from "../../gpu/transfer.ts";
import { DELTA_FLAGS, deltaKernel, deltaParameters, deltaTile, type Staging, type Tile } from "../../kernels/delta.ts";
import { DTYPE_CODES, type KernelDtype } from "../../kernels/dtype.ts";
import { defaultStaging } from "../../kernels/staging.ts";
import type { Bases } from "./bases.ts";
import type { Pairing } from "./delta-reference.ts";
import type { BasisMatrix, PhiloxStorage } from "./storage.ts";

/** Blocks of W start at multiples of this many rows: whole tiles for 8 and 16 lanes, and aligned bindings of B. */
export const BLOCK_ROWS = 192;

/** What is known of a layer before anything is on the GPU. */
interface DeltaLayerShape {
  /** ΔW is (out, in). */
  readonly out: number;
  readonly in: number;
  /** W is stored (in, out), as GPT-2's Conv1D does: its rows are ΔW's columns. */
  readonly weightIsTransposed: boolean;
  /** α/r times whatever the user multiplies it by. */
  readonly scale: number;
}

/** A layer's share of an adapter: λ (r, n) and γ (n, m), row-major; n = ⌈m/r⌉, m = min(out, in). */
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

/** Rows of a matrix. */
export interface DeltaRows {
  readonly buffer: Binding;
  readonly dtype: KernelDtype;
  /** Elements before the first row's first, a multiple of 4; 0 by default. */
  readonly at?: number;
}

/** What a block of ΔW is added to and where the result goes; see the flags of delta.wgsl. */
export interface DeltaBlock {
  /** First row of W in this block, a multiple of `BLOCK_ROWS`, and the number of rows. */
  readonly firstRow: number;
  readonly rows: number;
  /** Elements from row to row in the buffers of this block, a multiple of 4. */
  readonly pitch: number;
  /** W's rows; left out, the result is ΔW alone. */
  readonly weight?: DeltaRows;
  /** f32 rows that are added to ΔW first: the adapters before this one. */
  readonly sum?: GpuBuffer;
  readonly target: DeltaRows;
  /** Round ΔW to the target's dtype before it is added, as PEFT's merge does. */
  readonly roundDelta?: boolean;
}

/** What one block did, reduced from the kernel's statistics. */
export interface DeltaStatistics {
  readonly maxAbsDelta: number;
  readonly sumOfSquares: number;
  /** Weights that differ from the old ones after rounding. */
  readonly changed: number;
  readonly notFinite: number;
}

/**
 * A pair of bases in GPU memory with the kernel that turns a layer's λ and γ into ΔW (delta.wgsl). A layer may be
 * smaller than the bases: it uses A[:, :m] and B[:M, :n·r].
 */
export class DeltaBases {
  readonly #gpu: Gpu;
  readonly #r: number;
  readonly #kernel: Kernel;
  readonly #tile: Tile;
  readonly #a: BasisOnGpu;
  /** The kernel of `dispatches`. */
  readonly source: KernelSource;
  readonly pairing: Pairing;
  /** B̂, (rows, bases · r). */
  readonly b: BasisOnGpu;
  readonly #nothing: GpuBuffer;

  private constructor(
    gpu: Gpu,
    r: number,
    bases: { readonly a: BasisOnGpu; readonly b: BasisOnGpu },
    pairing: Pairing,
    staging: Staging,
    source: KernelSource,
    kernel: Kernel,
  ) {
    this.#gpu = gpu;
    this.#r = r;
    this.pairing = pairing;
    this.source = source;
    this.#kernel = kernel;
    this.#tile = deltaTile(staging);
    this.#nothing = gpu.memory.allocate("nothing", 16);
    this.#a = bases.a;
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
    return new DeltaBases(gpu, bases.r, { a, b }, pairing, staging, source, kernel);
  }

  /**
   * Uploads a layer's parameters.
   * @throws RandloraError `memory`
   */
  layer({ out, in: in_, lambda, gamma, ...rest }: DeltaLayerParameters): DeltaLayerOnGpu {
    const r = this.#r;
    const cols = Math.min(out, in_);
    const bases = Math.ceil(cols / r);
    const order = new Float32Array(Math.ceil((bases * r) / 16) * 16);
    if (this.pairing === "peft") order.set(lambda);
    else for (let j = 0; j < bases; j++) for (let k = 0; k < r; k++) order[j * r + k] = lambda[k * bases + j] ?? 0;
    const pitch = padded4(cols);
    const rows = new Float32Array(bases * pitch);
    for (let j = 0; j < bases; j++) rows.set(gamma.subarray(j * cols, (j + 1) * cols), j * pitch);
    return {
      ...rest,
      out,
      in: in_,
      lambda: uploaded(this.#gpu, "λ", order),
      gamma: uploaded(this.#gpu, "γ", rows),
    };
  }

  releaseLayer(layer: DeltaLayerOnGpu): void {
    this.#gpu.memory.release(layer.lambda);
    this.#gpu.memory.release(layer.gamma);
  }

  release(): void {
    for (const buffer of [this.#a.buffer, this.b.buffer, this.#nothing]) this.#gpu.memory.release(buffer);
  }

  /** Bytes of statistics that `record` writes for such a block. */
  statisticsBytes(layer: BoundDeltaLayer, block: DeltaBlock): number {
    return this.#parts(layer, block).reduce((sum, part) => sum + 16 * part.groups[0] * part.groups[1], 0);
  }

  /** Rows of B̂ that one dispatch can read, a multiple of `BLOCK_ROWS`: the most of a block that is not transposed. */
  get fittingRows(): number {
    // The kernel counts stored elements in 32 bits; two-bit ones reach that before the binding's limit.
    const { rowBytes, stride } = this.b;
    const fitting = Math.min(this.#gpu.limits.maxStorageBufferBindingSize / rowBytes, (2 ** 32 - 1) / stride);
    return Math.max(1, Math.floor(fitting / BLOCK_ROWS)) * BLOCK_ROWS;
  }

  /**
   * Records the dispatches for one block of rows of W.
   * @param statistics at least `statisticsBytes` long; read it back and give it to `readStatistics`
   */
  record(stream: Stream, layer: BoundDeltaLayer, block: DeltaBlock, statistics: GpuBuffer): void {
    for (const { parameters, buffers, workgroups } of this.dispatches(layer, block, statistics)) {
      stream.dispatch(this.#kernel, parameters, buffers, workgroups);
    }
  }

  /** What `record` dispatches, for those who record otherwise; the kernel is `source`. */
  dispatches(layer: BoundDeltaLayer, block: DeltaBlock, statistics: GpuBuffer): DeltaDispatch[] {
    const [a, b, r] = [this.#a, this.b, this.#r];
    const cols = Math.min(layer.out, layer.in);
    const bases = Math.ceil(cols / r);
    const philox = b.philox ?? a.philox;
    let flags = 0;
    if (block.weight !== undefined) flags |= DELTA_FLAGS.hasWeight;
    if (block.sum !== undefined) flags |= DELTA_FLAGS.hasSum;
    if (block.roundDelta === true) flags |= DELTA_FLAGS.roundDelta;
    let statisticsAt = 0;
    return this.#parts(layer, block).map((part) => {
      const parameters = deltaParameters({
        rows: part.rows,
        cols: part.cols,
        terms: bases * r,
        fastCount: this.pairing === "peft" ? bases : r,
        firstRow: part.firstRow,
        firstCol: part.firstCol,
        bStride: b.stride,
        aStride: a.stride,
        gammaStride: padded4(cols),
        weightPitch: block.pitch,
        transposed: part.transposed,
        flags,
        sourceDtype: DTYPE_CODES[block.weight?.dtype ?? "F32"],
        targetDtype: DTYPE_CODES[block.target.dtype],
        scale: layer.scale * a.value * b.value,
        workgroupsX: part.groups[0],
        firstStatistic: statisticsAt,
        key: philox === undefined ? [0, 0] : [philox.key[0], philox.key[1]],
        threshold: philox?.threshold ?? 0,
        dense: philox?.sparsity === "dense",
        aDrawn: a.philox?.pitch ?? 0,
        bDrawn: b.philox?.pitch ?? 0,
        sourceAt: block.weight?.at ?? 0,
        targetAt: block.target.at ?? 0,
      });
      const buffers = [
        part.b,
        a.buffer,
        layer.gamma,
        layer.lambda,
        block.weight?.buffer ?? this.#nothing,
        block.sum ?? this.#nothing,
        block.target.buffer,
        statistics,
      ];
      statisticsAt += part.groups[0] * part.groups[1];
      return { parameters, buffers, workgroups: part.groups };
    });
  }

  /** Splits a block so that no binding of B exceeds the GPU's limit. */
  #parts(layer: BoundDeltaLayer, block: DeltaBlock): DeltaPart[] {
    const small = Math.min(layer.out, layer.in);
    const large = Math.max(layer.out, layer.in);
    // B's rows run along the longer side: along W's columns when out < in, or when W itself is stored transposed.
    const transposed = layer.out < layer.in !== layer.weightIsTransposed;
    const { buffer, rowBytes, philox } = this.b;
    const most = this.fittingRows;
    const [from, count] = transposed ? [0, large] : [block.firstRow, block.rows];
    const parts: DeltaPart[] = [];
    for (let firstRow = from; firstRow < from + count; firstRow += most) {
      const rows = Math.min(most, from + count - firstRow);
      const cols = transposed ? block.rows : small;
      parts.push({
        transposed,
        firstRow,
        rows,
        firstCol: transposed ? block.firstRow : 0,
        cols,
        b: philox === undefined ? { of: buffer, offset: firstRow * rowBytes, size: rows * rowBytes } : buffer,
        groups: [Math.ceil(cols / this.#tile.cols), Math.ceil(rows / this.#tile.rows)],
      });
    }
    return parts;
  }
}

/** What one dispatch takes. */
export interface DeltaDispatch {
  readonly parameters: Uint32Array<ArrayBuffer>;
  readonly buffers: readonly Binding[];
  readonly workgroups: Workgroups;
}

/** One dispatch: rows × cols of B̂Ŝ. */
interface DeltaPart {
  readonly transposed: boolean;
  readonly firstRow: number;
  readonly rows: number;
  readonly firstCol: number;
  readonly cols: number;
  readonly b: Binding;
  readonly groups: readonly [number, number];
}

/** Reduces what the kernel wrote: one (max, Σx², changed, not finite) per workgroup. */
export function readStatistics(bytes: Uint8Array<ArrayBuffer>): DeltaStatistics {
  const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const total = { maxAbsDelta: 0, sumOfSquares: 0, changed: 0, notFinite: 0 };
  for (let at = 0; at < values.length; at += 4) {
    total.maxAbsDelta = Math.max(total.maxAbsDelta, values[at] ?? 0);
    total.sumOfSquares += values[at + 1] ?? 0;
    total.changed += values[at + 2] ?? 0;
    total.notFinite += values[at + 3] ?? 0;
  }
  return total;
}

/** Elements of a row padded to whole vectors of 4. */
export function padded4(count: number): number {
  return Math.ceil(count / 4) * 4;
}

/** What the kernel's ±1 stands for; 1 where it reads true values. */
function basisValue({ storage }: BasisMatrix): number {
  if (storage.kind === "ternary") return storage.scale;
  return storage.kind === "philox" && storage.sparsity !== "dense" ? storage.scale : 1;
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

/** A basis in GPU memory, and what the kernel's parameters say of it; its elements are kept nowhere else. */
export interface BasisOnGpu {
  readonly buffer: GpuBuffer;
  /** Elements from one row to the next. */
  readonly stride: number;
  readonly rowBytes: number;
  /** What the kernel's ±1 stands for. */
  readonly value: number;
  /** How the elements are drawn, where none are stored. */
  readonly philox: PhiloxStorage | undefined;
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
