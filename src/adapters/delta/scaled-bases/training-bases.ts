import { createHash } from "node:crypto";
import type { Bases } from "../../frozen/drawing/bases.ts";
import type { Device, DeviceBuffer } from "../../../compute/device/device.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import { isTernary, ternaryDensity, type TernaryRows } from "../../../compute/device/ternary-rows.ts";
import type { Unpacked } from "../../../compute/device/families/bilinear.ts";
import { NAMED_DTYPES } from "../../../files/safetensors/dtype.ts";
import type { Run } from "../../../compute/tensor/run.ts";
import { pitchOf, type Shape, type Tensor, tensorIn } from "../../../compute/tensor/tensor.ts";
import type { Placement } from "../../method/training.ts";
import { DeltaBases } from "./delta.ts";
import type { Pairing } from "../../../compute/device/pairing.ts";
import { type BasisMatrix, readElement } from "../../../compute/device/matrix-storage.ts";
import type { BilinearShape } from "./shape.ts";

/** Bytes that are hashed before others may go on. */
const PART = 16 * 2 ** 20;

/** The same for two pairs of bases if, and only if, all their elements are the same and stored alike. */
export async function identityOf({ r, a, b }: Pick<Bases, "r" | "a" | "b">): Promise<string> {
  const hash = createHash("sha256");
  for (const { rows, cols, stride, storage } of [a, b]) {
    const { data, ...known } = { data: undefined, ...storage };
    hash.update(JSON.stringify({ r, rows, cols, stride, ...known }));
    if (data === undefined) continue;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    for (let at = 0; at < bytes.length; at += PART) {
      hash.update(bytes.subarray(at, at + PART));
      await new Promise(setImmediate);
    }
  }
  return hash.digest("hex");
}

/** Ternary and drawn elements are unpacked in blocks of rows of about this much. */
const PANEL_BYTES = 8 * 2 ** 20;
/** What numbers 2b − 255 stand for: a philox-v1 element of the f32 grid. */
const PHILOX_UNIT = Math.sqrt(765 / 257) / 255;

/** Some rows of B̂ as numbers. */
interface BasisRows {
  /** Of those that were asked for. */
  readonly first: number;
  /** (rows, n·r) F32, F16 or BF16. */
  readonly tensor: Tensor;
}

/** Some rows of B̂ as an operand of a product, ternary where the device takes such rows. */
interface BasisOperand {
  readonly first: number;
  readonly operand: Tensor | TernaryRows;
}

/** A pair of bases in GPU memory: as the ΔW kernel reads them, and as operands of other products. */
export class TrainingBases {
  readonly delta: DeltaBases;
  readonly pairing: Pairing;
  readonly r: number;
  /** A (r, m) F32, true values: read element by element. It is widened where it is not stored so. */
  readonly a: Tensor;
  /** What a number in `rows` stands for: 1 where true values are stored. */
  readonly unit: number;
  readonly #gpu: Device;
  readonly #b: BasisMatrix;
  readonly #panelBytes: number;

  private constructor(gpu: Device, bases: Bases, delta: DeltaBases, panelBytes: number) {
    const { a, b, r } = bases;
    this.#gpu = gpu;
    this.#b = b;
    this.#panelBytes = panelBytes;
    this.delta = delta;
    this.pairing = delta.pairing;
    this.r = r;
    const stored = { shape: [r, a.cols], dtype: "F32", buffer: delta.a.buffer, offset: 0, pitch: a.stride } as const;
    this.a = a.storage.kind === "f32" ? stored : widened(gpu, a);
    this.unit = unitOf(b);
  }

  /**
   * Uploads the bases. They are held as they are stored: dense 16 bits, ternary 2, philox none.
   * @param panelBytes of a block of unpacked rows; a test says less
   * @throws RandloraError `memory`
   */
  static async create(gpu: Device, bases: Bases, pairing: Pairing, panelBytes = PANEL_BYTES): Promise<TrainingBases> {
    const delta = await DeltaBases.create(gpu, bases, pairing);
    return new TrainingBases(gpu, bases, delta, panelBytes);
  }

  /** The same, or those that another adapter has placed. @throws RandloraError as `create` */
  static async shared({ gpu, share }: Placement, bases: Bases, pairing: Pairing): Promise<TrainingBases> {
    const make = (on: Device): Promise<TrainingBases> => TrainingBases.create(on, bases, pairing);
    return share === undefined ? await make(gpu) : await share(`${pairing} ${await identityOf(bases)}`, make);
  }

  /** Bytes of what the gradients of a module's λ and γ are summed up in. */
  partBytes(shape: BilinearShape): { readonly lambdaParts: number; readonly gammaParts: number } {
    return this.#gpu.scratchBytes("basisGradient", shape);
  }

  /** The share of B̂'s elements that products take time for. */
  get density(): number {
    return this.#gpu.skipsZeros && this.#asItLies ? ternaryDensity(this.delta.b) : 1;
  }

  /** Products take B̂ as it lies, though it is packed. */
  get #asItLies(): boolean {
    return this.#gpu.skipsZeros ? isTernary(this.delta.b) : this.delta.b.storage === "ternary";
  }

  /** Bytes of the panel that `operands` needs for this module: none where the device takes B̂ as it lies. */
  operandBytes(shape: BilinearShape): number {
    return this.#asItLies ? 0 : this.panelBytes(shape);
  }

  /** B̂[:M, :n·r] of a module as operands of products, block by block: as it lies where the device takes it so, else `rows`. */
  *operands(run: Run, shape: BilinearShape, panel: DeviceBuffer | undefined): Generator<BasisOperand> {
    if (this.#asItLies) {
      // Sums are cut as those over unpacked rows are.
      const step = this.#gpu.skipsZeros ? shape.rows : this.#panelRows(shape);
      for (let first = 0; first < shape.rows; first += step) {
        const rows: Shape = [Math.min(step, shape.rows - first), shape.terms];
        yield { first, operand: { basis: this.delta.b, first, shape: rows } };
      }
      return;
    }
    for (const { first, tensor } of this.rows(run, shape, panel)) yield { first, operand: tensor };
  }

  /** Bytes of the panel that `rows` needs for this module: none where B̂ is an operand as it lies. */
  panelBytes(shape: BilinearShape): number {
    return isPacked(this.#b.storage.kind) ? this.#panelRows(shape) * panelPitch(shape) * 2 : 0;
  }

  /**
   * B̂[:M, :n·r] of a module in blocks of rows, one after the other: the next block takes the place of the one before, so
   * record what reads a block before asking for the next.
   * @param panel scratch of at least `panelBytes`
   * @param from rows of B̂ before these
   */
  *rows(run: Run, shape: BilinearShape, panel: DeviceBuffer | undefined, from = 0): Generator<BasisRows> {
    const { buffer, stride } = this.delta.b;
    const kind = this.#b.storage.kind;
    if (!isPacked(kind)) {
      const dtype = NAMED_DTYPES[kind];
      const offset = from * stride;
      yield { first: 0, tensor: { shape: [shape.rows, shape.terms], dtype, buffer, offset, pitch: stride } };
      return;
    }
    if (panel === undefined) throw new Error("packed bases need a panel to be unpacked to");
    const unpacked = unpackedOf(this.#b);
    const step = this.#panelRows(shape);
    const pitch = panelPitch(shape);
    for (let first = 0; first < shape.rows; first += step) {
      const rows = Math.min(step, shape.rows - first);
      const part = { first: from + first, rows, cols: shape.terms };
      run.compute("unpack", { basis: this.delta.b, unpacked, ...part, target: panel, pitch });
      const dtype = unpacked === "f16" ? "F16" : "BF16";
      const tensor: Tensor = { shape: [rows, shape.terms], dtype, buffer: panel, offset: 0, pitch };
      yield { first, tensor };
    }
  }

  /** Rows of a panel: whole vectors along the sum of a product, and one a workgroup. */
  #panelRows(shape: BilinearShape): number {
    const fitting = Math.max(8, Math.floor(this.#panelBytes / (panelPitch(shape) * 2) / 8) * 8);
    const most = Math.floor(this.#gpu.limits.maxRows / 8) * 8;
    return Math.min(Math.ceil(shape.rows / 8) * 8, fitting, most);
  }

  /** Gives the GPU memory back. */
  release(): void {
    if (this.a.buffer !== this.delta.a.buffer) this.#gpu.memory.release(this.a.buffer);
    this.delta.release();
  }
}

function widened(gpu: Device, a: BasisMatrix): Tensor {
  const pitch = pitchOf(a.cols, "F32");
  const values = new Float32Array(a.rows * pitch);
  for (let k = 0; k < a.rows; k++) for (let c = 0; c < a.cols; c++) values[k * pitch + c] = readElement(a, k, c);
  return tensorIn(uploaded(gpu, "basis A, widened", values), [a.rows, a.cols], "F32");
}

/** Are elements codes, or not stored at all? */
export function isPacked(kind: BasisMatrix["storage"]["kind"]): kind is "ternary" | "philox" {
  return kind === "ternary" || kind === "philox";
}

/** Codes have units, and so have dense draws that no grid has rounded; the others are true values. */
function unpackedOf({ storage }: BasisMatrix): Unpacked {
  return storage.kind === "philox" && storage.sparsity === "dense" && storage.grid !== "f32" ? storage.grid : "units";
}

function unitOf({ storage }: BasisMatrix): number {
  if (storage.kind === "ternary") return storage.scale;
  if (storage.kind !== "philox") return 1;
  return storage.sparsity === "dense" && storage.grid === "f32" ? PHILOX_UNIT * storage.scale : storage.scale;
}

function panelPitch({ terms }: BilinearShape): number {
  return pitchOf(terms, "BF16");
}
