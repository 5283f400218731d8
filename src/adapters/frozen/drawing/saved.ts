import { RandloraError } from "../../../files/errors.ts";
import { itemAt } from "../../../files/item-at.ts";
import { checkExtent } from "./draw.ts";
import { basesCount, type Bases, type BasesExtent } from "./bases.ts";
import { paddedStride, type BasisMatrix, type BasisStorage } from "../../../compute/device/matrix-storage.ts";

/** A projection in an adapter file, as a matrix: A is (r, min), B (max, ⌈min/r⌉·r), both row-major. */
export interface SavedProjection {
  /** The tensor's name and file, for messages. */
  readonly name: string;
  readonly dtype: "F32" | "F16" | "BF16";
  readonly rows: number;
  readonly cols: number;
  /** The little-endian bytes of `count` whole rows from `row` on. They may be reused by the next call. */
  read(row: number, count: number): Uint8Array | Promise<Uint8Array>;
}

/** Rows are read in portions of about this many bytes. */
const PORTION = 1 << 20;

const MAGNITUDE = 0x7fffffff;
const INFINITY_BITS = 0x7f800000;
/** f32 bits of 2^-14 and of 65504. */
const F16_SMALLEST_NORMAL = 0x38800000;
const F16_LARGEST = 0x477fe000;

/** Widens little-endian bytes of `dtype` to f32. */
function widen(bytes: Uint8Array, dtype: SavedProjection["dtype"]): Float32Array<ArrayBuffer> {
  // A copy, since a reader may hand out any offset into a buffer that it uses again.
  const { buffer } = new Uint8Array(bytes);
  if (dtype === "F32") return new Float32Array(buffer);
  if (dtype === "F16") return new Float32Array(new Float16Array(buffer));
  const patterns = new Uint16Array(buffer);
  const widened = new Uint32Array(patterns.length);
  for (let i = 0; i < patterns.length; i++) widened[i] = (patterns[i] as number) << 16;
  return new Float32Array(widened.buffer);
}

/** Calls `use` with every kept row, widened. @throws RandloraError `format` for another number of bytes */
export async function eachRow(
  saved: SavedProjection,
  rows: number,
  cols: number,
  use: (values: Float32Array<ArrayBuffer>, row: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const rowBytes = saved.cols * (saved.dtype === "F32" ? 4 : 2);
  const portion = Math.max(1, Math.floor(PORTION / rowBytes));
  for (let row = 0; row < rows; row += portion) {
    signal?.throwIfAborted();
    const count = Math.min(portion, rows - row);
    const bytes = await saved.read(row, count);
    if (bytes.length !== count * rowBytes) {
      throw new RandloraError(
        "format",
        `${saved.name}: ${bytes.length} bytes where ${count} rows have ${count * rowBytes}`,
      );
    }
    const values = widen(bytes, saved.dtype);
    for (let i = 0; i < count; i++) use(values.subarray(i * saved.cols, i * saved.cols + cols), row + i);
  }
}

type PackedKind = Exclude<BasisStorage["kind"], "philox">;

/** What the elements seen so far have in common. They are judged by their bits, which costs a few operations each. */
class Survey {
  ternary = true;
  bf16 = true;
  f16 = true;
  finite = true;
  /** The bits of the one magnitude that is not zero. */
  magnitude = 0;

  /** Takes in a row, given as the bits of its f32 numbers. */
  add(bits: Uint32Array): void {
    let { magnitude } = this;
    let other = false;
    let used = 0;
    let largest = 0;
    let f16 = true;
    for (let i = 0; i < bits.length; i++) {
      const pattern = bits[i] as number;
      const size = pattern & MAGNITUDE;
      if (magnitude === 0) magnitude = size;
      if (size !== magnitude && size !== 0) other = true;
      if (size > largest) largest = size;
      if (size < F16_SMALLEST_NORMAL && size !== 0 && !isSubnormalHalf(size)) f16 = false;
      used |= pattern;
    }
    this.magnitude = magnitude;
    if (other) this.ternary = false;
    if ((used & 0xffff) !== 0) this.bf16 = false;
    if (!f16 || (used & 0x1fff) !== 0 || largest > F16_LARGEST) this.f16 = false;
    if (largest >= INFINITY_BITS) this.finite = false;
  }
}

/** Whether the bits of a small positive f32 are those of a multiple of 2^-24, f16's unit below its normal range. */
function isSubnormalHalf(size: number): boolean {
  const units = itemAt(new Float32Array(Uint32Array.of(size).buffer), 0) * 2 ** 24;
  return Number.isInteger(units);
}

const bitsOf = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length);

/** Looks at every kept element. @throws RandloraError `numeric` for NaN or infinity */
export async function survey(
  saved: SavedProjection,
  rows: number,
  cols: number,
  signal: AbortSignal | undefined,
): Promise<Survey> {
  const seen = new Survey();
  await eachRow(saved, rows, cols, (values) => seen.add(bitsOf(values)), signal);
  if (!seen.finite) {
    throw new RandloraError("numeric", `${saved.name} holds NaN or infinity`, "the adapter file is damaged");
  }
  return seen;
}

/** bf16 patterns of f32 numbers that are exact in bf16. */
function upperHalves(bits: Uint32Array, out: Uint16Array, at: number): void {
  for (let i = 0; i < bits.length; i++) out[at + i] = (bits[i] as number) >>> 16;
}

async function pack(
  saved: SavedProjection,
  rows: number,
  cols: number,
  kind: PackedKind,
  magnitude: number,
  signal: AbortSignal | undefined,
): Promise<BasisMatrix> {
  const stride = paddedStride(cols, kind === "ternary" ? kind : undefined);
  const forEachRow = (use: (values: Float32Array<ArrayBuffer>, row: number) => void): Promise<void> =>
    eachRow(saved, rows, cols, use, signal);
  let storage: BasisStorage;
  if (kind === "f32") {
    const data = new Float32Array(rows * stride);
    await forEachRow((values, row) => data.set(values, row * stride));
    storage = { kind, data };
  } else if (kind === "ternary") {
    const data = new Uint32Array((rows * stride) / 16);
    await forEachRow((values, row) => {
      for (let col = 0; col < cols; col++) {
        const value = values[col] as number;
        if (value === 0) continue;
        const word = (row * stride + col) >>> 4;
        data[word] = (data[word] as number) | ((value > 0 ? 1 : 2) << ((col & 15) * 2));
      }
    });
    const scale = itemAt(new Float32Array(Uint32Array.of(magnitude).buffer), 0);
    storage = { kind, data, scale };
  } else {
    const data = new Uint16Array(rows * stride);
    const halves = new Float16Array(data.buffer);
    await forEachRow((values, row) => {
      if (kind === "f16") halves.set(values, row * stride);
      else upperHalves(bitsOf(values), data, row * stride);
    });
    storage = { kind, data };
  }
  return { rows, cols, stride, storage };
}

/** The most compact kind that holds both matrices, so that a kernel meets one kind a pair. */
function commonKind(a: Survey, b: Survey): PackedKind {
  if (a.ternary && b.ternary) return "ternary";
  if (a.bf16 && b.bf16) return "bf16";
  return a.f16 && b.f16 ? "f16" : "f32";
}

/**
 * Packs the projections that an adapter file carries, as far as `extent` needs them, without loss: ternary, bf16 or f16
 * where every element allows it, else f32. The bytes are read twice, a portion of rows at a time: once to look, once to pack.
 * @param r the adapter's rank; A must have r rows, B a column for each of ⌈min/r⌉ bases' r elements.
 * @throws RandloraError `adapter` when the shapes do not fit each other or the layers, `numeric` for NaN or infinity.
 */
export async function fromProjections(
  a: SavedProjection,
  b: SavedProjection,
  r: number,
  extent: BasesExtent,
  signal?: AbortSignal,
): Promise<Bases> {
  if (a.rows !== r || b.cols !== basesCount(a.cols, r) * r) {
    throw new RandloraError(
      "adapter",
      `${a.name} (${a.rows} × ${a.cols}) and ${b.name} (${b.rows} × ${b.cols}) are no pair of bases with r = ${r}`,
      "the adapter's configuration and its weights do not belong together",
    );
  }
  checkExtent(extent, r, b.rows, a.cols);
  const colsB = extent.bases * r;
  const seenA = await survey(a, r, extent.cols, signal);
  const seenB = await survey(b, extent.rows, colsB, signal);
  const kind = commonKind(seenA, seenB);
  return {
    r,
    extent,
    a: await pack(a, r, extent.cols, kind, seenA.magnitude, signal),
    b: await pack(b, extent.rows, colsB, kind, seenB.magnitude, signal),
    stdA: null,
    stdB: null,
  };
}
