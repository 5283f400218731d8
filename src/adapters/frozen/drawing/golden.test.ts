import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { GeneratorName, Sparsity } from "../../../compute/random/names.ts";
import { basesCount, drawBases, type BasesSpec } from "./draw.ts";
import { elements, MemoryStdCache, whole } from "../../testing/drawn-bases.ts";

/** What fixtures/draws/make.py writes. */
const DRAWS = join(import.meta.dir, "../../../../fixtures/draws");

interface DenseRecord {
  key: number;
  r: number;
  min_dim: number;
  max_dim: number;
  num_bases: number;
  std_A: number;
  std_B: number;
  A_head: number[];
  B_head: number[];
  A_sum: number;
  B_sum: number;
  B_sumsq: number;
}

interface SparseRecord {
  key: number;
  r: number;
  min_dim: number;
  max_dim: number;
  very: boolean;
  num_bases: number;
  std_A: number;
  std_B: number;
  A_tern_head: number[];
  B_tern_head: number[];
  A_counts: number[];
  B_counts: number[];
  A_scale: number;
  B_scale: number;
}

const specOf = (
  record: { key: number; r: number; min_dim: number; max_dim: number },
  generator: GeneratorName,
  sparsity: Sparsity,
): BasesSpec => ({
  generator,
  key: BigInt(record.key),
  r: record.r,
  max: record.max_dim,
  min: record.min_dim,
  sparsity,
  grid: "f32",
});

const count = (values: number[]): number[] =>
  [-1, 0, 1].map((sign) => values.filter((value) => Math.sign(value) === sign).length);

const sum = (values: number[]): number => values.reduce((total, value) => total + value, 0);

describe.each([
  ["2.6.0", "torch-mt19937-bf16-v1"],
  ["2.13.0", "torch-mt19937-bf16-v2"],
] as const)("dense bases of torch %s", async (torch, generator) => {
  const { dense }: { dense: DenseRecord[] } = await Bun.file(join(DRAWS, `torch-${torch}.json`)).json();
  test.each(dense)("key $key, r $r, $max_dim × $min_dim", (record) => {
    const spec = specOf(record, generator, "dense");
    const bases = drawBases(spec, whole(spec), new MemoryStdCache());
    const a = elements(bases.a);
    const b = elements(bases.b);
    expect(basesCount(spec.min, spec.r)).toBe(record.num_bases);
    expect([bases.stdA, bases.stdB]).toEqual([record.std_A, record.std_B]);
    expect(a.slice(0, 16)).toEqual(record.A_head);
    expect(b.slice(0, 16)).toEqual(record.B_head);
    // Sums of bf16 numbers below 2 are exact in doubles, so equal sums mean equal elements, or a conspiracy.
    expect(sum(a)).toBe(record.A_sum);
    expect(sum(b)).toBe(record.B_sum);
    expect(sum(b.map((value) => value * value))).toBeCloseTo(record.B_sumsq, 6);
  });
});

describe.each(["2.6.0", "2.13.0"])("sparse bases of torch %s", async (torch) => {
  const { sparse }: { sparse: SparseRecord[] } = await Bun.file(join(DRAWS, `torch-${torch}.json`)).json();
  test.each(sparse)("key $key, r $r, very $very", (record) => {
    const spec = specOf(record, "torch-mt19937-ternary", record.very ? "very-sparse" : "sparse");
    const bases = drawBases(spec, whole(spec), new MemoryStdCache());
    const a = elements(bases.a);
    const b = elements(bases.b);
    expect([bases.stdA, bases.stdB]).toEqual([record.std_A, record.std_B]);
    expect(a.slice(0, record.A_tern_head.length)).toEqual(record.A_tern_head.map((sign) => sign * record.A_scale));
    expect(b.slice(0, record.B_tern_head.length)).toEqual(record.B_tern_head.map((sign) => sign * record.B_scale));
    expect(count(a)).toEqual(record.A_counts);
    expect(count(b)).toEqual(record.B_counts);
  });
});
