import * as v from "valibot";
import { philox4x32 } from "../../compute/random/philox.ts";
import { recordZero } from "../../compute/tensor/fill.ts";
import type { Run } from "../../compute/tensor/run.ts";
import { recordStridedSums, type Strided } from "../../compute/tensor/strided-sums.ts";
import type { Tensor } from "../../compute/tensor/tensor.ts";
import { RandloraError } from "../../files/errors.ts";
import { itemAt } from "../../files/item-at.ts";
import { type DeltaRows, type Formula, partFrom, type Sizes } from "../formula/formula.ts";
import { type FormulaMethod, formulaMethod } from "../formula/method.ts";
import type { ModuleShape } from "../method/method.ts";

// The file holds the mask, however it was made.
const KEYS = { mask_type: v.optional(v.string(), "random"), init_weights: v.optional(v.unknown(), true) };

/**
 * SHiRA (Bhardwaj et al., NeurIPS 2024; peft/tuners/shira): ΔW is sparse, element t at the row and column that `indices` (2, nnz)
 * has, as many as a LoRA of the rank has parameters.
 */
export const SHIRA: FormulaMethod<"w" | "indices", typeof KEYS> = {
  name: "shira",
  title: "SHiRA",
  peftType: "SHIRA",
  peft: { keys: KEYS },
  usual: { rank: 32, rankFits: true, alphaPerRank: null, learningRate: 1e-3 },
  most: (modules) => Math.min(...modules.map(({ out, in: input }) => Math.floor((out * input) / (out + input)))),
  tensors: {
    names: { w: "shira_weight", indices: "shira_indices" },
    shapes: ({ r }, { out, in: input }) => ({ w: [r * (out + input)], indices: [2, r * (out + input)] }),
    fixed: ["indices"],
    integers: ["indices"],
    meaning: "there are r·(in + out) weights, and a row and a column of each",
  },
  start: (module, { r }, seed, stream) => ({ indices: () => randomPlaces(module, r, seed, stream) }),
  formula: sparse,
  misfit: ({ out, in: input }, { r }) =>
    r * (out + input) > out * input ? `${r * (out + input)} weights are more than it has` : undefined,
  terms: 0,
};

export const shira = formulaMethod(SHIRA);

/** "mask": other draws with the same seed are independent. */
const PURPOSE = 0x6d61736b;

/** Different places of a matrix in its order: rows, then columns. */
function randomPlaces({ out, in: input }: ModuleShape, r: number, seed: number, stream: number) {
  const count = r * (out + input);
  const size = out * input;
  const isDense = 2 * count > size;
  const drawn = new Set<number>();
  const words = new Uint32Array(4);
  // Of a mask that has more than half of the places the others are drawn.
  for (let at = 0; drawn.size < (isDense ? size - count : count); at++) {
    philox4x32(words, [at, stream, PURPOSE, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)]);
    drawn.add(Math.floor(((itemAt(words, 0) + itemAt(words, 1) / 2 ** 32) / 2 ** 32) * size));
  }
  const places = isDense
    ? Float64Array.from({ length: size }, (_, at) => at).filter((at) => !drawn.has(at))
    : Float64Array.from(drawn).toSorted();
  const indices = new Float32Array(2 * count);
  places.forEach((place, t) => {
    indices[t] = Math.floor(place / input);
    indices[count + t] = place % input;
  });
  return indices;
}

/** Elements that a dispatch adds, but for those of one row. */
const PART = 4096;
/** A vector of 4 of a row of ΔW, which an element lies in. */
const LANES = 4;

function sparse({ out, in: input }: ModuleShape, { r }: Sizes<typeof KEYS>): Formula<"w" | "indices"> {
  const count = r * (out + input);
  /** Places of the first element of each row, and of the end. @throws RandloraError `adapter` where the order is another one */
  const beginsOf = (indices: ArrayLike<number>): readonly number[] => {
    const begins: number[] = [];
    let before = -1;
    for (let t = 0; t < count; t++) {
      const [row, col] = [itemAt(indices, t), itemAt(indices, count + t)];
      const place = row * input + col;
      if (!(Number.isInteger(row) && Number.isInteger(col) && place > before && row < out && col >= 0 && col < input)) {
        const cause = `element ${t} of shira_indices, at (${row}, ${col}), is outside (${out}, ${input}) or not behind the one before`;
        throw new RandloraError("adapter", cause, "merge the adapter with PEFT: merge_and_unload()");
      }
      while (begins.length <= row) begins.push(t);
      before = place;
    }
    while (begins.length <= out) begins.push(count);
    return begins;
  };
  /** The elements of some rows: which vector of these rows has each, and which element of that is it. */
  interface Part {
    readonly row: number;
    readonly rows: number;
    readonly begin: number;
    readonly ids: Uint32Array<ArrayBuffer>;
    readonly lanes: Float32Array<ArrayBuffer>;
  }
  const partsOf = (indices: ArrayLike<number>, first: number, end: number, vectors: number): readonly Part[] => {
    const begins = beginsOf(indices);
    const parts: Part[] = [];
    for (let row = first, next = first; row < end; row = next) {
      const begin = itemAt(begins, row);
      for (next = row + 1; next < end && itemAt(begins, next + 1) - begin <= PART;) next++;
      const size = itemAt(begins, next) - begin;
      if (size === 0) continue;
      const ids = new Uint32Array(size);
      const lanes = new Float32Array(size * LANES);
      for (let t = 0; t < size; t++) {
        const col = itemAt(indices, count + begin + t);
        ids[t] = (itemAt(indices, begin + t) - row) * vectors + Math.floor(col / LANES);
        lanes[t * LANES + (col % LANES)] = 1;
      }
      parts.push({ row, rows: next - row, begin, ids, lanes });
    }
    return parts;
  };
  /** Of the last rows: those of each step are the same. */
  let last: { readonly of: ArrayLike<number>; readonly key: string; readonly parts: readonly Part[] } | undefined;
  function* placed(run: Run, { first, rows, values }: DeltaRows) {
    const indices = values?.["indices"];
    if (indices === undefined) throw new Error("SHiRA's formula takes its indices");
    const vectors = rows.pitch / LANES;
    const [end, key] = [first + rows.shape[0], `${first} ${rows.shape[0]} ${vectors}`];
    if (last?.of !== indices || last.key !== key) {
      last = { of: indices, key, parts: partsOf(indices, first, end, vectors) };
    }
    for (const { row, rows: height, begin, ids, lanes } of last.parts) {
      const size = ids.length;
      yield {
        begin,
        size,
        ids: run.upload("vectors", [1, size], ids),
        lanes: run.upload("lanes", [size, LANES], lanes),
        table: { ...partFrom(rows, row - first, 0, [height * vectors, LANES]), pitch: LANES } satisfies Tensor,
      };
    }
  }
  const strided = (of: Tensor, row: number, col: number, term = 0): Strided => ({ of, steps: { row, col, term } });
  return {
    at({ w, indices }, row, col) {
      let sum = 0;
      for (let t = 0; t < count; t++) {
        if (itemAt(indices, t) === row && itemAt(indices, count + t) === col) sum += itemAt(w, t);
      }
      return sum;
    },
    form(run, { w }, scale, rows, accumulate) {
      if (!accumulate) recordZero(run, rows.rows);
      for (const { begin, size, ids, lanes, table } of placed(run, rows)) {
        const spread = run.allocate("spread", [size, LANES]);
        const x = strided(partFrom(w, 0, begin), 1, 0);
        recordStridedSums(run, { x, w: strided(lanes, LANES, 1), y: spread, terms: 1, scale });
        run.compute("embeddingGradient", { ids, dy: spread, scale: 1, dtable: table });
        run.release(spread);
      }
    },
    fold(run, _, scale, rows, to) {
      for (const { begin, size, ids, lanes, table } of placed(run, rows)) {
        const taken = run.allocate("taken", [size, LANES]);
        run.compute("embedding", { ids, table, scale: 1, y: taken });
        const [x, w] = [strided(taken, 0, LANES, 1), strided(lanes, 0, LANES, 1)];
        const y = partFrom(to.w, 0, begin, [1, size]);
        recordStridedSums(run, { x, w, y, terms: LANES, scale, accumulate: true });
        run.release(taken);
      }
    },
  };
}
