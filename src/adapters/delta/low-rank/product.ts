import type { Device } from "../../../compute/device/device.ts";
import { type DeltaBasis, padded4 } from "../../../compute/device/families/delta.ts";
import type { Staging } from "../../../compute/device/staging.ts";
import { uploaded } from "../../../compute/device/transfer.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { recordZero } from "../../../compute/tensor/fill.ts";
import { Run } from "../../../compute/tensor/run.ts";
import type { Tensor } from "../../../compute/tensor/tensor.ts";
import { itemAt } from "../../../files/item-at.ts";
import type { Adapter, AdapterTensor } from "../../files/adapter.ts";
import { readValues } from "../../files/tensors.ts";
import type { DeltaSample, DeltaSource, LayerDelta } from "../../method/plan.ts";
import { deltaSource, type LayerPlace } from "../on-device.ts";

/** What the kernel reads of a matrix's row at once. */
const ROW_ALIGNMENT = 16;
/** Factors are read and uploaded in rows of about this much: that of an output embedding is large. */
const PIECE_BYTES = 4 * 2 ** 20;

/** One adapted weight: ΔW (out, in) = scale · B·A, stored (in, out) where `conv1d`. */
export interface LowRankShape {
  readonly out: number;
  readonly in: number;
  readonly conv1d: boolean;
  readonly rank: number;
  readonly scale: number;
}

/** A matrix of f32 numbers whose rows are read when they are asked for. */
export interface FactorRows {
  /** For messages. */
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  /** `count` rows from `first` on, row-major. @throws RandloraError `numeric` where they are not finite, `file` */
  read(first: number, count: number): Promise<Float32Array<ArrayBuffer>>;
}

/** A weight with its factors. */
export interface LowRankLayer extends LowRankShape {
  /** Rows of ΔW are those of so many products, one below the other; 1 by default. */
  readonly experts?: number;
  /** A (experts · rank, in). */
  readonly a: FactorRows;
  /** B (out, rank). */
  readonly b: FactorRows;
}

/** A factor that an adapter's file holds as a matrix. */
export function storedFactor(adapter: Adapter, tensor: AdapterTensor): FactorRows {
  const [rows = 0, cols = 0] = tensor.shape;
  const { name } = tensor;
  return { name, rows, cols, read: (first, count) => readValues(adapter, tensor, first * cols, count * cols) };
}

/** ΔW of layers whose factors are read. */
export function lowRankDeltas(layers: readonly LowRankLayer[]): DeltaSource {
  return deltaSource(layers, {
    share: compile,
    async place(layer, _, on) {
      const [a, b] = [await uploadRows(on.gpu, layer.a), await uploadRows(on.gpu, layer.b)];
      return layer.experts === undefined ? productOf(layer, a, b, on) : productsOf(layer, layer.experts, a, b, on);
    },
    async reference({ a, b, rank, scale, in: input, out, experts = 1 }, { factor, sample: { rows, cols } }) {
      const values: number[] = [];
      for (const [expert, own] of Map.groupBy(rows, (row) => Math.floor((row * experts) / out))) {
        const all = await a.read(expert * rank, rank);
        const right = cols.map((col) => Array.from({ length: rank }, (_, k) => itemAt(all, k * input + col)));
        const left: Float32Array[] = [];
        for (const row of own) left.push(await b.read(row, 1));
        values.push(...productReference(left, right, scale * factor));
      }
      return Float64Array.from(values);
    },
  });
}

/** Records A (rank, in) and B (out, rank) of a layer into tensors whose padding is zero and stays so. */
export type FormFactors<L> = (run: Run, layer: L, to: Factors, index: number) => void | Promise<void>;

export interface Factors {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** Factors that are worked out. `L`: what is known of a layer. */
export interface DerivedFactorsMap<L> {
  /** Uploads what they are worked out of. */
  share(gpu: Device, staging: Staging): Promise<FormFactors<L>>;
  /** Rows of B and columns of A in f64, by their definition. */
  reference(
    layer: L,
    sample: DeltaSample,
  ): Promise<{ readonly b: readonly number[][]; readonly a: readonly number[][] }>;
}

/** ΔW of layers whose factors are worked out. */
export function derivedDeltas<L extends LowRankShape>(
  layers: readonly L[],
  factors: DerivedFactorsMap<L>,
): DeltaSource {
  return deltaSource(layers, {
    async share(gpu, staging) {
      await compile(gpu);
      return await factors.share(gpu, staging);
    },
    async place(layer, form, on) {
      const { gpu, staging, index } = on;
      const empty = (label: string, rows: number, cols: number): Tensor => {
        const pitch = padded(cols);
        const buffer = gpu.memory.allocate(label, rows * pitch * 4);
        return { shape: [rows, cols], dtype: "F32", buffer, offset: 0, pitch };
      };
      const [a, b] = [empty("factor A", layer.rank, layer.in), empty("factor B", layer.out, layer.rank)];
      using run = new Run(gpu, staging);
      for (const tensor of [a, b]) recordZero(run, { ...tensor, shape: [tensor.shape[0], tensor.pitch] });
      await form(run, layer, { a, b }, index);
      await run.submit();
      const basis = ({ buffer, pitch }: Tensor) => f32Basis(buffer, pitch);
      return productOf(layer, basis(a), basis(b), on);
    },
    async reference(layer, { factor, sample }) {
      const { a, b } = await factors.reference(layer, sample);
      return productReference(b, a, layer.scale * factor);
    },
  });
}

/**
 * scale · B·A by RandLoRA's kernel: one base, λ and γ all ones, rows of A paired with columns of B one by one (the paper's
 * pairing). Multiplying by one is exact, so the sums are those of a plain product.
 */
function productOf(
  { rank, conv1d, out, in: input, scale }: LowRankShape,
  a: DeltaBasis,
  b: DeltaBasis,
  { gpu, factor }: LayerPlace,
): LayerDelta["form"] {
  const ones = (label: string, count: number, length: number) =>
    uploaded(gpu, label, new Float32Array(length).fill(1, 0, count));
  const operands = {
    pairing: "paper" as const,
    a,
    b,
    lambda: ones("λ", rank, padded(rank)),
    gamma: ones("γ", input, padded4(input)),
    rows: out,
    cols: input,
    terms: rank,
    fastCount: rank,
    transposed: conv1d,
    scale: scale * factor,
  };
  return (run, block) => run.compute("delta", { ...operands, block });
}

/** The same for each of so many blocks of rows, whose A and B lie one below the other. */
function productsOf(
  { rank, out, in: input, scale }: LowRankShape,
  experts: number,
  a: DeltaBasis,
  b: DeltaBasis,
  { factor }: LayerPlace,
): LayerDelta["form"] {
  const each = out / experts;
  const rowsOf = ({ buffer, stride }: DeltaBasis, first: number, rows: number, cols: number): Tensor => {
    return { buffer, dtype: "F32", shape: [rows, cols], offset: first * stride, pitch: stride };
  };
  return (run, { firstRow, rows, target, at = 0, pitch, accumulate }) => {
    const end = firstRow + rows;
    for (let first = firstRow; first < end;) {
      const expert = Math.floor(first / each);
      const count = Math.min(end, (expert + 1) * each) - first;
      const y: Tensor = {
        buffer: target,
        dtype: "F32",
        shape: [count, input],
        offset: at + (first - firstRow) * pitch,
        pitch,
      };
      const factors = { a: rowsOf(b, first, count, rank), b: rowsOf(a, expert * rank, rank, input) };
      recordGemm(run, { order: "NN", ...factors, y, scale: scale * factor, accumulate });
      first += count;
    }
  };
}

/** Uploads a factor, widened to f32, with padded rows. */
async function uploadRows(gpu: Device, { name, rows, cols, read }: FactorRows): Promise<DeltaBasis> {
  const stride = padded(cols);
  const rowBytes = stride * 4;
  const buffer = gpu.memory.allocate(name, rows * rowBytes);
  const step = Math.max(1, Math.floor(PIECE_BYTES / rowBytes));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const values = await read(row, count);
    const spread = new Float32Array(count * stride);
    for (let i = 0; i < count; i++) spread.set(values.subarray(i * cols, (i + 1) * cols), i * stride);
    gpu.write(buffer, spread, row * rowBytes);
  }
  return f32Basis(buffer, stride);
}

/** scale · left · rightᵀ in f64 by the plain sum over the rank, row-major. */
function productReference(
  left: readonly ArrayLike<number>[],
  right: readonly ArrayLike<number>[],
  scale: number,
): Float64Array {
  return Float64Array.from({ length: left.length * right.length }, (_, at) => {
    const [row, col] = [itemAt(left, Math.floor(at / right.length)), itemAt(right, at % right.length)];
    let sum = 0;
    for (let k = 0; k < row.length; k++) sum += itemAt(row, k) * itemAt(col, k);
    return scale * sum;
  });
}

function f32Basis(buffer: DeltaBasis["buffer"], stride: number): DeltaBasis {
  return { buffer, storage: "f32", stride, value: 1, philox: undefined };
}

function compile(gpu: Device): Promise<void> {
  return gpu.prepare("delta", { a: "f32", b: "f32", pairing: "paper" });
}

function padded(count: number): number {
  return Math.ceil(count / ROW_ALIGNMENT) * ROW_ALIGNMENT;
}
