// Products, sums and norms of matrices, what becomes of a weight in a merge, and a filled cache.
import { KV_DTYPES, type KernelDtype, type KvDtype, NUMBER_DTYPES, STORED_DTYPES } from "../../../device/dtype.ts";
import type { Magnitudes } from "../../../device/families/magnitude.ts";
import type { GemmOrder } from "../../../device/families/products.ts";
import { roundFromF64, widenToF32 } from "../../../../files/safetensors/numbers.ts";
import { at, type Matrix, matrixOf } from "../../op.ts";
import { OPS } from "../../ops/index.ts";
import { ids } from "../case.ts";
import { place } from "../placed.ts";
import { basis, bytes, type FamilyCase, placed, placedAs, sum, target } from "./case.ts";

export const WEIGHT_CASES: readonly FamilyCase[] = [
  ...(["NT", "NN", "TN"] as const).flatMap(products),
  ...NUMBER_DTYPES.flatMap((dtype) => [finish(dtype, false), finish(dtype, true)]),
  ...STORED_DTYPES.flatMap((dtype) => [
    rowSquares(dtype),
    columnSquares(dtype),
    rescale(dtype, true),
    rescale(dtype, false),
  ]),
  ...(["norm", "factor", "gradient"] as const).flatMap((kind) =>
    (kind === "norm" ? NUMBER_DTYPES : (["F32"] as const)).map((dtype) => magnitudes(kind, dtype)),
  ),
  ...KV_DTYPES.flatMap((dtype) => [filling(dtype, false), filling(dtype, true)]),
  ...NUMBER_DTYPES.map(stridedSums),
];

function products(order: GemmOrder): FamilyCase[] {
  const formats = order === "TN" ? STORED_DTYPES : ([...STORED_DTYPES, "TERNARY"] as const);
  return formats.map((format): FamilyCase => {
    return {
      family: "gemm",
      format,
      name: order,
      record(run) {
        // b's rows are whole blocks.
        const [rows, cols, terms] = order === "NT" ? [66, 35, 288] : [66, 96, 19];
        const a = order === "TN" ? placed(run, terms, rows) : placed(run, rows, terms);
        const shape = order === "NT" ? ([cols, terms] as const) : ([terms, cols] as const);
        const codes = format === "TERNARY" ? basis(run, "ternary", ...shape) : undefined;
        const numbers = placed(run, ...shape, format === "TERNARY" ? "F32" : format);
        const accumulate = format === "F32";
        const y = placed(run, rows, cols);
        const b = codes === undefined ? numbers : { basis: codes, first: 0, shape };
        run.compute("gemm", { order, a, b, y, scale: 2, accumulate });
        const { matrix: right } = codes ?? numbers;
        const wanted = matrixOf(rows, cols, (row, col) => {
          const product = sum(terms, (term) => {
            const left = order === "TN" ? at(a.matrix, term, row) : at(a.matrix, row, term);
            return left * (order === "NT" ? at(right, col, term) : at(right, term, col));
          });
          return 2 * product + (accumulate ? at(y.matrix, row, col) : 0);
        });
        return [{ of: "y", tensor: y, wanted }];
      },
    };
  });
}

/** What a dtype keeps of numbers. */
function rounded({ shape, data }: Matrix, dtype: KernelDtype): Matrix {
  const stored = new Uint8Array(data.length * (dtype === "F32" ? 4 : 2));
  roundFromF64(data, dtype, stored);
  const widened = new Float32Array(data.length);
  widenToF32(stored, dtype, widened);
  return { shape, data: Float64Array.from(widened) };
}

function finish(dtype: KernelDtype, roundDelta: boolean): FamilyCase {
  return {
    family: "finish",
    format: dtype,
    name: roundDelta ? "ΔW rounded first" : "",
    record(run) {
      const [rows, cols] = [9, 37];
      const weight = placed(run, rows, cols, dtype);
      const { pitch } = weight;
      const delta = placed(run, rows, pitch);
      const [to, size] = [target(run, rows, cols, dtype, pitch), run.device.scratchBytes("finish", { rows, cols })];
      run.compute("finish", {
        rows,
        cols,
        pitch,
        roundDelta,
        weight: { buffer: weight.buffer, dtype },
        delta: delta.buffer,
        target: { buffer: to.buffer, dtype },
        statistics: bytes(run, size.statistics),
      });
      const change = roundDelta ? rounded(delta.matrix, dtype) : delta.matrix;
      const all = matrixOf(rows, cols, (row, col) => Math.fround(at(weight.matrix, row, col) + at(change, row, col)));
      return [{ of: "W + ΔW", tensor: to, wanted: rounded(all, dtype), tolerance: 0 }];
    },
  };
}

const SIZE = [9, 64] as const;

function rowSquares(dtype: (typeof STORED_DTYPES)[number]): FamilyCase {
  return {
    family: "rowSquares",
    format: dtype,
    name: "with ΔW",
    record(run) {
      const [weight, delta, sums] = [placed(run, ...SIZE, dtype), placed(run, ...SIZE), target(run, 1, SIZE[0])];
      run.compute("rowSquares", { weight, delta, sums });
      const wanted = matrixOf(1, SIZE[0], (_, row) =>
        sum(SIZE[1], (col) => (at(weight.matrix, row, col) + at(delta.matrix, row, col)) ** 2),
      );
      return [{ of: "sums", tensor: sums, wanted }];
    },
  };
}

function columnSquares(dtype: (typeof STORED_DTYPES)[number]): FamilyCase {
  return {
    family: "columnSquares",
    format: dtype,
    name: "added",
    record(run) {
      const [weight, sums] = [placed(run, ...SIZE, dtype), placed(run, 1, SIZE[1])];
      run.compute("columnSquares", { weight, delta: undefined, sums, accumulate: true });
      const wanted = matrixOf(
        1,
        SIZE[1],
        (_, col) => at(sums.matrix, 0, col) + sum(SIZE[0], (row) => at(weight.matrix, row, col) ** 2),
      );
      return [{ of: "sums", tensor: sums, wanted }];
    },
  };
}

function rescale(dtype: (typeof STORED_DTYPES)[number], columns: boolean): FamilyCase {
  return {
    family: "rescale",
    format: dtype,
    name: columns ? "columns" : "rows, more ΔW",
    record(run) {
      const [weight, to] = [placed(run, ...SIZE, dtype), placed(run, ...SIZE)];
      const delta = columns ? undefined : placed(run, ...SIZE);
      const factors = placed(run, 1, columns ? SIZE[1] : SIZE[0]);
      run.compute("rescale", { weight, delta, factors, columns, target: to });
      const wanted = matrixOf(...SIZE, (row, col) => {
        const w = at(weight.matrix, row, col);
        const change = at(to.matrix, row, col) + (delta === undefined ? 0 : at(delta.matrix, row, col));
        return at(factors.matrix, 0, columns ? col : row) * (w + change) - w;
      });
      return [{ of: "ΔW", tensor: to, wanted }];
    },
  };
}

function magnitudes(kind: Magnitudes["kind"], dtype: KernelDtype): FamilyCase {
  return {
    family: "magnitudes",
    format: dtype,
    name: kind,
    record(run) {
      const count = 64;
      const sums = placedAs(
        run,
        matrixOf(1, count, (_, col) => Math.fround(0.1 + col / 7)),
      );
      const [from, to] = [placed(run, 1, count), placed(run, 1, count)];
      run.compute("magnitudes", { kind, sums, from: kind === "norm" ? undefined : from, to, dtype });
      const all = matrixOf(1, count, (_, col) => {
        const norm = Math.sqrt(at(sums.matrix, 0, col));
        if (kind === "norm") return norm;
        return at(from.matrix, 0, col) / norm + (kind === "gradient" ? at(to.matrix, 0, col) : 0);
      });
      const isCoarse = dtype !== "F32";
      const result = { of: kind, tensor: to, wanted: isCoarse ? rounded(all, dtype) : all };
      if (kind === "gradient")
        return [result, { of: "what was added", tensor: from, wanted: matrixOf(1, count, () => 0) }];
      return [{ ...result, ...(isCoarse && { tolerance: 2 ** -8 }) }];
    },
  };
}

/** A cache of 7 positions that three tokens are written to, with two heads of queries and one of keys and values. */
function filling(dtype: KvDtype, normed: boolean): FamilyCase {
  return {
    family: "fillCache",
    format: dtype === "Q8_ROWS" ? "Q8_0" : dtype,
    name: normed ? "norms of heads, rows by index" : "neighbors turn",
    record(run) {
      const [headSize, tokens, positions] = [dtype === "Q8_ROWS" ? 32 : 20, 3, 7];
      const qkv = placed(run, tokens, 4 * headSize);
      const [keys, values] = [placed(run, positions, headSize, dtype), placed(run, positions, headSize, dtype)];
      const [cos, sin] = [placed(run, tokens, headSize / 2), placed(run, tokens, headSize / 2)];
      const [q, k] = [placed(run, 1, headSize), placed(run, 1, headSize)];
      const norms = normed ? { q, k, epsilon: 1e-5, offset: 1 } : undefined;
      const places = normed ? [4, 0, 2] : [0, 1, 2];
      const rows = normed ? place(run.device, ids(...places)) : undefined;
      run.compute("fillCache", { headSize, neighbors: !normed, norms, rows, cos, sin, qkv, keys, values });
      const part = (first: number, count: number) =>
        matrixOf(tokens, count, (row, col) => at(qkv.matrix, row, first + col));
      const scaledBy = (x: Matrix, { matrix: weight }: { readonly matrix: Matrix }) =>
        normed ? OPS.rmsNorm.reference({ x, weight }, { epsilon: 1e-5, offset: 1 }).y : x;
      const given = { q: scaledBy(part(0, 2 * headSize), q), k: scaledBy(part(2 * headSize, headSize), k) };
      const turned = OPS.rope.reference(
        { ...given, v: part(3 * headSize, headSize), cos: cos.matrix, sin: sin.matrix },
        { headSize, neighbors: !normed },
      );
      if (turned.k === undefined || turned.v === undefined) throw new TypeError("no keys");
      const added = { keys: turned.k, values: turned.v };
      const cache = (before: Matrix, added: Matrix) =>
        matrixOf(positions, headSize, (row, col) =>
          places.includes(row) ? at(added, places.indexOf(row), col) : at(before, row, col),
        );
      const projected = matrixOf(tokens, 4 * headSize, (row, col) =>
        col < 2 * headSize ? at(turned.q, row, col) : at(qkv.matrix, row, col),
      );
      const tolerance = dtype === "F32" ? {} : { tolerance: dtype === "F16" ? 2 ** -11 : 1 / 254 + 2 ** -11 };
      return [
        { of: "q", tensor: qkv, wanted: projected },
        { of: "keys", tensor: keys, wanted: cache(keys.matrix, added.keys), ...tolerance },
        { of: "values", tensor: values, wanted: cache(values.matrix, added.values), ...tolerance },
      ];
    },
  };
}

function stridedSums(dtype: KernelDtype): FamilyCase {
  return {
    family: "stridedSums",
    format: dtype,
    name: "",
    record(run) {
      const terms = 6;
      const [of, w, y] = [placed(run, terms, 40, dtype), placed(run, terms, 5), target(run, 5, 40)];
      const x = { of, steps: { row: 0, col: 1, term: of.pitch } };
      run.compute("stridedSums", { x, w: { of: w, steps: { row: 1, col: 0, term: w.pitch } }, y, terms, scale: 2 });
      const wanted = matrixOf(5, 40, (row, col) =>
        sum(terms, (term) => 2 * at(of.matrix, term, col) * at(w.matrix, term, row)),
      );
      return [{ of: "y", tensor: y, wanted }];
    },
  };
}
