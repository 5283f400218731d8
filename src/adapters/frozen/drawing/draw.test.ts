import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { RandloraError } from "../../../files/errors.ts";
import type { FloatGrid, GeneratorName, Sparsity } from "../../../compute/random/names.ts";
import { roundToGrid } from "../../../compute/random/grid.ts";
import { basesCount, drawBases, fingerprint, type BasesExtent, type BasesSpec } from "./draw.ts";
import { elements, MemoryStdCache, whole } from "../../testing/drawn-bases.ts";
import { readElement, type BasisMatrix } from "../../../compute/device/matrix-storage.ts";

const combinations: readonly (readonly [GeneratorName, Sparsity])[] = [
  ["torch-mt19937-bf16-v1", "dense"],
  ["torch-mt19937-bf16-v2", "dense"],
  ["torch-mt19937-f16-v1", "dense"],
  ["torch-mt19937-f16-v2", "dense"],
  ["torch-mt19937-f32", "dense"],
  ["torch-mt19937-ternary", "sparse"],
  ["torch-mt19937-ternary", "very-sparse"],
  ["philox-v1", "dense"],
  ["philox-v1", "sparse"],
  ["philox-v1", "very-sparse"],
];

const specs = fc
  .record({
    combination: fc.constantFrom(...combinations),
    key: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }),
    r: fc.integer({ min: 1, max: 20 }),
    min: fc.integer({ min: 12, max: 40 }),
    extra: fc.integer({ min: 0, max: 30 }),
    grid: fc.constantFrom<FloatGrid>("f32", "bf16", "f16"),
  })
  .map(({ combination: [generator, sparsity], key, r, min, extra, grid }): BasesSpec => {
    return { generator, key, r, max: min + extra, min, sparsity, grid };
  });

const cases = specs.chain((spec) =>
  fc.record({
    spec: fc.constant(spec),
    extent: fc.record<BasesExtent>({
      rows: fc.integer({ min: 0, max: spec.max }),
      bases: fc.integer({ min: 0, max: basesCount(spec.min, spec.r) }),
      cols: fc.integer({ min: 0, max: spec.min }),
    }),
    warm: fc.boolean(),
  }),
);

/** Every element of `part` is the element of `all` at the same place. */
function expectSlice(part: BasisMatrix, all: BasisMatrix): void {
  for (let row = 0; row < part.rows; row++) {
    for (let col = 0; col < part.cols; col++) {
      if (!Object.is(readElement(part, row, col), readElement(all, row, col))) {
        throw new Error(`element (${row}, ${col}) differs`);
      }
    }
  }
}

describe("what a layer needs", () => {
  test("is a slice of the whole, with the standard deviations measured or known", () => {
    fc.assert(
      fc.property(cases, ({ spec, extent, warm }) => {
        const cache = new MemoryStdCache();
        const all = drawBases(spec, whole(spec), new MemoryStdCache());
        if (warm) drawBases(spec, { rows: 0, bases: 0, cols: 0 }, cache);
        const part = drawBases(spec, extent, cache);
        expect([part.stdA, part.stdB]).toEqual([all.stdA, all.stdB]);
        expect([part.b.rows, part.b.cols, part.a.cols]).toEqual([extent.rows, extent.bases * spec.r, extent.cols]);
        expectSlice(part.a, all.a);
        expectSlice(part.b, all.b);
      }),
      { numRuns: 150 },
    );
  });

  test("is rounded to the grid after normalizing, once more", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const single = drawBases({ ...spec, grid: "f32" }, whole(spec), new MemoryStdCache());
        const rounded = drawBases(spec, whole(spec), new MemoryStdCache());
        expect(elements(rounded.b)).toEqual(elements(single.b).map((value) => roundToGrid(value, spec.grid)));
        expect(elements(rounded.a)).toEqual(elements(single.a).map((value) => roundToGrid(value, spec.grid)));
      }),
      { numRuns: 40 },
    );
  });

  test("is padded with zeros to whole groups of 16 elements", () => {
    for (const [generator, sparsity] of combinations) {
      const spec = { generator, key: 1n, r: 5, max: 30, min: 23, sparsity, grid: "bf16" } as const;
      for (const matrix of Object.values(drawBases(spec, { rows: 7, bases: 3, cols: 9 }, new MemoryStdCache()))) {
        if (typeof matrix !== "object" || matrix === null || !("storage" in matrix)) continue;
        expect(matrix.stride).toBe(16);
        if (matrix.storage.kind === "philox") continue;
        const data: number[] = Array.from(matrix.storage.data);
        expect(data.length).toBe(matrix.storage.kind === "ternary" ? matrix.rows : matrix.rows * 16);
        const padding = data.filter((word, i) =>
          matrix.storage.kind === "ternary" ? word >>> (2 * matrix.cols) !== 0 : i % 16 >= matrix.cols && word !== 0,
        );
        expect(padding).toEqual([]);
      }
    }
  });

  test("takes the storage that its values allow", () => {
    const kind = (generator: GeneratorName, sparsity: Sparsity, grid: FloatGrid): string => {
      const spec = { generator, key: 1n, r: 4, max: 30, min: 20, sparsity, grid };
      return drawBases(spec, whole(spec), new MemoryStdCache()).b.storage.kind;
    };
    expect(kind("torch-mt19937-bf16-v2", "dense", "f32")).toBe("bf16");
    expect(kind("torch-mt19937-bf16-v2", "dense", "bf16")).toBe("bf16");
    expect(kind("torch-mt19937-bf16-v2", "dense", "f16")).toBe("f16");
    expect(kind("torch-mt19937-f16-v2", "dense", "f32")).toBe("f16");
    expect(kind("torch-mt19937-f16-v1", "dense", "bf16")).toBe("bf16");
    expect(kind("torch-mt19937-f32", "dense", "f32")).toBe("f32");
    expect(kind("torch-mt19937-f32", "dense", "f16")).toBe("f16");
    expect(kind("torch-mt19937-ternary", "sparse", "bf16")).toBe("ternary");
    expect(kind("philox-v1", "dense", "f32")).toBe("philox");
    expect(kind("philox-v1", "dense", "bf16")).toBe("philox");
    expect(kind("philox-v1", "very-sparse", "f16")).toBe("philox");
  });

  test("spans several staging groups", () => {
    const spec = { generator: "torch-mt19937-bf16-v2", key: 3n, r: 40, max: 20000, min: 200 } as const;
    const full = { ...spec, sparsity: "dense", grid: "f32" } as const;
    const cache = new MemoryStdCache();
    const part = drawBases(full, { rows: 3, bases: 5, cols: 200 }, cache);
    expectSlice(part.b, drawBases(full, whole(full), cache).b);
  });
});

describe("fingerprint", () => {
  test("hashes the first elements in the order of drawing", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const cache = new MemoryStdCache();
        const print = fingerprint(spec, cache);
        const bases = drawBases(spec, whole(spec), cache);
        const dense = spec.generator !== "philox-v1" && spec.sparsity === "dense";
        const b = Array.from({ length: basesCount(spec.min, spec.r) }, (_, j) =>
          Array.from({ length: spec.max * spec.r }, (_, i) =>
            readElement(bases.b, Math.floor(i / spec.r), j * spec.r + (i % spec.r)),
          ),
        ).flat();
        const sha256 = (values: number[]): string =>
          new Bun.CryptoHasher("sha256").update(Float32Array.from(values.slice(0, 4096))).digest("hex");
        expect(print.sha256.a).toBe(sha256(elements(bases.a)));
        expect(print.sha256.b).toBe(sha256(dense ? b : elements(bases.b)));
        expect([print.stdA, print.stdB]).toEqual([bases.stdA, bases.stdB]);
      }),
      { numRuns: 40 },
    );
  });
});

describe("a specification that makes no sense", () => {
  const good: BasesSpec = {
    generator: "torch-mt19937-bf16-v2",
    key: 0n,
    r: 4,
    max: 20,
    min: 10,
    sparsity: "dense",
    grid: "f32",
  };
  test.each<[string, Partial<BasesSpec>]>([
    ["r = 0", { r: 0 }],
    ["r is not whole", { r: 2.5 }],
    ["min above max", { min: 21 }],
    ["more elements than any model needs", { max: 2 ** 31, min: 2 ** 31 }],
    ["a seed of 65 bits", { key: 2n ** 64n }],
    ["dense from the ternary generator", { generator: "torch-mt19937-ternary" }],
    ["sparse from a dense generator", { sparsity: "sparse" }],
  ])("%s", (_, change) => {
    const spec = { ...good, ...change };
    expect(() => drawBases(spec, { rows: 1, bases: 1, cols: 1 }, new MemoryStdCache())).toThrow(RandloraError);
    expect(() => fingerprint(spec, new MemoryStdCache())).toThrow(RandloraError);
  });

  test("a layer larger than the bases", () => {
    for (const extent of [
      { rows: 21, bases: 1, cols: 1 },
      { rows: 1, bases: 4, cols: 1 },
      { rows: 1, bases: 1, cols: 11 },
    ]) {
      expect(() => drawBases(good, extent, new MemoryStdCache())).toThrow("exceeds the random bases");
    }
  });
});
