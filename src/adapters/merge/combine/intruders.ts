import { type Tensor, sliceRows, tensorBytes, tensorIn, write } from "../../../compute/tensor/tensor.ts";
import { recordGemm } from "../../../compute/tensor/gemm.ts";
import { RandloraError } from "../../../files/errors.ts";
import { oneLine, quote } from "../../../files/failure.ts";
import { itemAt } from "../../../files/item-at.ts";
import { widenToF32 } from "../../../files/safetensors/numbers.ts";
import { deltaSource, type LayerPlace } from "../../delta/on-device.ts";
import { takeSteps, type Steps } from "../../frozen/drawing/bases.ts";
import type { AdapterPlan } from "../../method/plan.ts";
import { isTooLarge, wholeDelta } from "../in-memory/deltas.ts";
import { eigenpairSteps, eigenpairWork, largestProductSteps } from "../../svd/eigenvectors.ts";
import { type Dense, gramSteps } from "../../svd/eigenvalues.ts";
import { combined, RANK_TOLERANCE } from "../../svd/singular-values.ts";

/** How intruders are told: PEFT's and the paper's (arXiv:2410.21228) values. */
export const INTRUDERS = { top: 10, epsilon: 0.5 } as const;

/** A singular direction of W + ΔW that W does not have: value · left · rightᵀ. */
interface Intruder {
  readonly value: number;
  readonly left: Float64Array;
  readonly right: Float64Array;
}

/**
 * The intruder dimensions of W + ΔW (arXiv:2410.21228, section 3; PEFT's lora/intruders.py): of its `top` first left
 * singular vectors those whose largest cosine with any left singular vector of W is below `epsilon`.
 *
 * @param weight W
 * @param adapted W + ΔW
 * @param onWork told of operations done, in all {@link intruderWork} at most
 * @throws RangeError for a matrix that is not finite
 */
export function* intruderSteps(
  weight: Dense,
  adapted: Dense,
  onWork: (operations: number) => void = () => {},
): Steps<readonly Intruder[]> {
  const { rows, cols } = weight;
  const isWide = rows <= cols;
  const { values, vectors } = yield* eigenpairSteps(
    yield* gramSteps(adapted, onWork),
    (squares) => squares.findLastIndex((square, at) => at < INTRUDERS.top && isThere(square, squares[0] ?? 0)) + 1,
    onWork,
  );
  const pairs: Intruder[] = [];
  for (const [at, vector] of vectors.entries()) {
    const value = Math.sqrt(values[at] ?? 0);
    const other = combined(adapted, vector).map((element) => element / value);
    pairs.push(isWide ? { value, left: vector, right: other } : { value, left: other, right: vector });
    onWork(rows * cols);
    yield;
  }
  // Left vectors of a tall W are W·v/s: their products with u are those of Wᵀ·u with v, divided by s.
  const sought = pairs.map(({ left }) => (isWide ? left : productsWithColumns(weight, left)));
  const cosines = yield* largestProductSteps(
    yield* gramSteps(weight, onWork),
    sought,
    (square, largest) => (isThere(square, largest) ? (isWide ? 1 : Math.sqrt(square)) : Number(isWide)),
    (largest, squares) => largest >= INTRUDERS.epsilon || 1 - squares < INTRUDERS.epsilon ** 2,
    onWork,
  );
  return pairs.filter((_, at) => (cosines[at] ?? 0) < INTRUDERS.epsilon);
}

function isThere(square: number, largest: number): boolean {
  return square > RANK_TOLERANCE ** 2 * largest;
}

/** Operations that it takes at most, about. */
export function intruderWork(rows: number, cols: number): number {
  const size = Math.min(rows, cols);
  return 2 * size * rows * cols + eigenpairWork(size, INTRUDERS.top) + eigenpairWork(size, size);
}

function productsWithColumns({ rows, cols, data }: Dense, vector: Float64Array): Float64Array {
  const products = new Float64Array(cols);
  for (let row = 0; row < rows; row++) {
    const factor = vector[row] ?? 0;
    for (let col = 0; col < cols; col++)
      products[col] = (products[col] as number) + factor * (data[row * cols + col] as number);
  }
  return products;
}

/**
 * An adapter without the intruder dimensions of W + ΔW (arXiv:2410.21228; PEFT's lora/intruders.py), but for a part of each: its ΔW
 * is ΔW + (kept − 1) Σ s·u·vᵀ over them.
 * @param onFound told of each weight how many it has
 * @throws RandloraError `adapter` for weights that are too large, or those of all experts together
 */
export function withoutIntruders(plan: AdapterPlan, kept: number, onFound: (count: number) => void): AdapterPlan {
  const { layers, adapter } = plan;
  const other = layers.find((layer) => isTooLarge(layer) || layer.shape.length !== 2);
  if (other !== undefined) {
    const cause = `singular vectors of ${quote(other.tensor)} [${other.shape.join(", ")}] are not computed`;
    throw new RandloraError("adapter", `${oneLine(adapter.file)}: ${cause}`, "leave --reduce-intruders out");
  }
  return {
    ...plan,
    roundsDelta: false,
    rescales: true,
    async load(signal) {
      const source = await plan.load(signal);
      const known = new Map<number, readonly Intruder[]>();
      return deltaSource(layers, {
        share: (gpu, staging) => source.upload(gpu, staging),
        async place(_, shared, on) {
          const { gpu, owner, index, factor, weight } = on;
          const delta = owner.adopt(await shared.layer(index, factor, weight), (one) => one.release());
          const { rows, cols, dtype } = weight;
          const data = new Float32Array(rows * cols);
          widenToF32(await weight.read(0, rows), dtype, data);
          const change = await wholeDelta(gpu, delta, weight, plan.rescales === true);
          const adapted = change.map((value, at) => value + itemAt(data, at));
          const found = await takeSteps(intruderSteps({ rows, cols, data }, { rows, cols, data: adapted }), signal);
          known.set(index, found);
          onFound(found.length);
          const [left, right] = placed(on, found, kept - 1);
          return (run, block) => {
            delta.form(run, block);
            if (found.length === 0) return;
            const { firstRow, rows: count, target: buffer, at: offset = 0, pitch } = block;
            const y = { shape: [count, cols], dtype: "F32", buffer, offset, pitch } as const;
            recordGemm(run, { order: "NN", a: sliceRows(left, firstRow, count), b: right, y, accumulate: true });
          };
        },
        async reference({ conv1d }, { index, factor, sample, weight }) {
          const values = await source.reference(index, factor, sample, weight);
          const { rows, cols } = sample;
          return values.map((value, at) => {
            const place = [itemAt(rows, Math.floor(at / cols.length)), itemAt(cols, at % cols.length)] as const;
            const [row, col] = conv1d ? [place[1], place[0]] : place;
            const one = (sum: number, { value: s, left, right }: Intruder) =>
              sum + (kept - 1) * s * itemAt(left, row) * itemAt(right, col);
            return value + (known.get(index) ?? []).reduce(one, 0);
          });
        },
      });
    },
  };
}

/** Factors (rows, k) and (k, cols) of a sum of dimensions. */
function placed({ gpu, weight: { rows, cols } }: LayerPlace, found: readonly Intruder[], factor: number) {
  const k = Math.max(1, found.length);
  const [left, right] = [new Float32Array(rows * k), new Float32Array(k * cols)];
  for (const [at, { value, left: u, right: v }] of found.entries()) {
    u.forEach((element, row) => (left[row * k + at] = factor * value * element));
    right.set(v, at * cols);
  }
  const place = (values: Float32Array<ArrayBuffer>, shape: readonly [number, number]): Tensor => {
    const tensor = tensorIn(gpu.memory.allocate("intruder dimensions", tensorBytes(shape, "F32")), shape, "F32");
    write(gpu, tensor, values);
    return tensor;
  };
  return [place(left, [rows, k]), place(right, [k, cols])] as const;
}
