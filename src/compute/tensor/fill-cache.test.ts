import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { roundFromF64, widenToF32 } from "../../files/safetensors/numbers.ts";
import { fromBlocks, toBlocks } from "../device/blocks.ts";
import { KV_DTYPES, type KvDtype } from "../device/dtype.ts";
import { STAGING_NAMES, Stagings } from "../device/testing/stagings.ts";
import { recordFilling } from "./fill-cache.ts";
import { type Matrix, matrixOf } from "./op.ts";
import { OPS } from "./ops/index.ts";
import { Run } from "./run.ts";
import { sliceRows, type Tensor } from "./tensor.ts";
import { ids, random } from "./cases/case.ts";
import { place, relativeError, take } from "./cases/placed.ts";

const stagings = new Stagings();
beforeAll(() => stagings.open());
afterAll(() => stagings.close());

const TIMEOUT = 120_000;
const [TOKENS, POSITIONS] = [3, 11];
const EPSILON = 1e-5;

function cols(matrix: Matrix, first: number, count: number): Matrix {
  const [rows, width] = matrix.shape;
  return matrixOf(rows, count, (row, col) => matrix.data[row * width + first + col] ?? NaN);
}

const CASES = [
  { name: "one after another", heads: 3, kvHeads: 1, headSize: 8, rotated: 8, offset: undefined, rows: undefined },
  { name: "norms of heads", heads: 4, kvHeads: 2, headSize: 64, rotated: 64, offset: 0, rows: undefined },
  { name: "heads of one block", heads: 5, kvHeads: 3, headSize: 32, rotated: 32, offset: undefined, rows: [7, 0, 10] },
  { name: "heads of three", heads: 2, kvHeads: 1, headSize: 96, rotated: 96, offset: undefined, rows: undefined },
  { name: "rows by index", heads: 2, kvHeads: 2, headSize: 12, rotated: 12, offset: undefined, rows: [7, 0, 10] },
  { name: "part of a head, all", heads: 6, kvHeads: 3, headSize: 20, rotated: 12, offset: 1, rows: [4, 9, 2] },
  {
    name: "halves that end within vectors",
    heads: 2,
    kvHeads: 1,
    headSize: 20,
    rotated: 20,
    offset: 1,
    rows: [1, 2, 0],
  },
  { name: "with neighbors", heads: 3, kvHeads: 1, headSize: 16, rotated: 16, offset: undefined, rows: undefined },
  {
    name: "norms, part of a head with neighbors",
    heads: 2,
    kvHeads: 2,
    headSize: 20,
    rotated: 10,
    offset: 0,
    rows: [5, 6, 2],
  },
] as const;

/** What a dtype keeps of numbers. */
function roundedTo(dtype: KvDtype, data: Float64Array): Float64Array {
  if (dtype === "Q8_ROWS") return Float64Array.from(fromBlocks(toBlocks(Float32Array.from(data), "Q8_0"), "Q8_0"));
  const bytes = new Uint8Array(data.length * (dtype === "F32" ? 4 : 2));
  roundFromF64(data, dtype, bytes);
  const widened = new Float32Array(data.length);
  widenToF32(bytes, dtype, widened);
  return Float64Array.from(widened);
}

describe.each(STAGING_NAMES)("%s", (staging) => {
  test.each(
    CASES.flatMap((one) => KV_DTYPES.map((dtype) => ({ ...one, dtype }))).filter(
      ({ dtype, headSize }) => dtype !== "Q8_ROWS" || headSize % 32 === 0,
    ),
  )(
    "a cache is filled: $name, $dtype",
    async ({ name, heads, kvHeads, headSize, rotated, offset, rows, dtype }) => {
      const [gpu, way] = stagings.get(staging);
      const [width, kvWidth] = [heads * headSize, kvHeads * headSize];
      const first = rows === undefined ? 5 : 0;
      const neighbors = name.endsWith("with neighbors");
      const given = {
        qkv: random(TOKENS, width + 2 * kvWidth, "F32", 3),
        keys: random(POSITIONS, kvWidth, dtype),
        values: random(POSITIONS, kvWidth, dtype),
        cos: random(TOKENS, rotated / 2),
        sin: random(TOKENS, rotated / 2),
        q: random(1, headSize),
        k: random(1, headSize),
      };
      const placed = Object.fromEntries(Object.entries(given).map(([name, operand]) => [name, place(gpu, operand)]));
      const { qkv, keys, values, cos, sin, q, k } = placed as Record<keyof typeof given, (typeof placed)[string]>;
      const indices = rows && place(gpu, ids(...rows));
      {
        using run = new Run(gpu, way);
        recordFilling(run, {
          headSize,
          neighbors,
          qkv,
          cos,
          sin,
          keys: sliceRows(keys, first, POSITIONS - first),
          values: sliceRows(values, first, POSITIONS - first),
          rows: indices,
          norms: offset === undefined ? undefined : { q, k, epsilon: EPSILON, offset },
        });
        await run.submit();
      }

      const normed = (x: Matrix, weight: Matrix) =>
        offset === undefined ? x : OPS.rmsNorm.reference({ x, weight }, { epsilon: EPSILON, offset }).y;
      const { matrix } = given.qkv;
      const turned = OPS.rope.reference(
        {
          q: normed(cols(matrix, 0, width), given.q.matrix),
          k: normed(cols(matrix, width, kvWidth), given.k.matrix),
          v: cols(matrix, width + kvWidth, kvWidth),
          cos: given.cos.matrix,
          sin: given.sin.matrix,
        },
        { headSize, neighbors },
      );
      if (turned.k === undefined || turned.v === undefined) throw new TypeError("no keys");
      const added = { keys: turned.k, values: turned.v };
      const filled = (before: Matrix, added: Matrix) =>
        matrixOf(POSITIONS, kvWidth, (row, col) => {
          const from = rows === undefined ? row - first : rows.findIndex((target) => target === row);
          const isNew = from >= 0 && from < TOKENS;
          return (isNew ? added.data[from * kvWidth + col] : before.data[row * kvWidth + col]) ?? NaN;
        });
      const found = async (tensor: typeof qkv, shape: Matrix["shape"]) => ({
        shape,
        data: (await take(gpu, tensor)).values,
      });
      const projected = await found(qkv, matrix.shape);
      expect(relativeError(cols(projected, 0, width).data, turned.q.data)).toBeLessThan(1e-5);
      expect(cols(projected, width, 2 * kvWidth).data).toEqual(cols(matrix, width, 2 * kvWidth).data);
      const cache = (tensor: typeof qkv) => found(tensor, [POSITIONS, kvWidth]);
      const rounded = (matrix: Matrix) => ({ ...matrix, data: roundedTo(dtype, matrix.data) });
      const error = relativeError((await cache(keys)).data, filled(given.keys.matrix, added.keys).data);
      expect(error).toBeLessThan({ F32: 1e-5, F16: 2 ** -11, Q8_ROWS: 1 / 254 + 2 ** -11 }[dtype]);
      expect((await cache(values)).data).toEqual(rounded(filled(given.values.matrix, added.values)).data);
      for (const tensor of [...Object.values(placed), ...(indices === undefined ? [] : [indices])]) {
        gpu.memory.release(tensor.buffer);
      }
    },
    TIMEOUT,
  );
});

test.each(STAGING_NAMES)(
  "%s: of blocks with a number that is not finite none is, and tiny ones are zeros",
  async (staging) => {
    const [gpu, way] = stagings.get(staging);
    const headSize = 32;
    const data = random(1, 6 * headSize).matrix.data;
    // Two heads of queries, of keys, of values.
    data[2 * headSize + 6] = NaN;
    data.fill(1e-40, 4 * headSize, 5 * headSize);
    data[6 * headSize - 1] = -Infinity;
    const qkv = place(gpu, { matrix: { shape: [1, 6 * headSize], data }, dtype: "F32" });
    const [keys, values] = [random(1, 2 * headSize, "Q8_ROWS"), random(1, 2 * headSize, "Q8_ROWS")].map((one) =>
      place(gpu, one),
    ) as [Tensor, Tensor];
    const angles = (value: number) => place(gpu, { matrix: matrixOf(1, headSize / 2, () => value), dtype: "F32" });
    const [cos, sin] = [angles(1), angles(0)];
    {
      using run = new Run(gpu, way);
      recordFilling(run, {
        headSize,
        neighbors: false,
        qkv,
        cos,
        sin,
        keys,
        values,
        rows: undefined,
        norms: undefined,
      });
      await run.submit();
    }
    const [k, v] = [(await take(gpu, keys)).values, (await take(gpu, values)).values];
    const none = Array.from({ length: headSize }, () => NaN);
    expect([...k.subarray(0, headSize), ...v.subarray(headSize)]).toEqual([...none, ...none]);
    expect([...v.subarray(0, headSize)].every((value) => value === 0)).toBe(true);
    expect(relativeError(k.subarray(headSize), data.subarray(3 * headSize, 4 * headSize))).toBeLessThan(
      1 / 254 + 2 ** -11,
    );
    for (const { buffer } of [qkv, keys, values, cos, sin]) gpu.memory.release(buffer);
  },
);

test("what does not fit is refused before anything is recorded", () => {
  const [gpu, way] = stagings.get(STAGING_NAMES[0] ?? "the CPU device");
  using run = new Run(gpu, way);
  const [qkv, cache, angles] = [
    run.allocate("qkv", [3, 24]),
    run.allocate("cache", [2, 8]),
    run.allocate("cos", [3, 4]),
  ];
  const filling = {
    headSize: 8,
    neighbors: false,
    qkv,
    cos: angles,
    sin: angles,
    keys: cache,
    values: cache,
    rows: undefined,
  };
  expect(() => recordFilling(run, { ...filling, norms: undefined })).toThrow("room for it");
});
