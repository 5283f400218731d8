import { describe, expect, test } from "bun:test";
import * as fc from "fast-check";
import { parseIndex } from "./index-file.ts";
import { encodeIndex, planShards } from "./shards.ts";
import { plannedBytes, type PlannedTensor } from "./writer.ts";

const bytes = (name: string, size: number): PlannedTensor => ({ name, dtype: "U8", shape: [size] });

describe("planShards", () => {
  test("names one file and several as Hugging Face does", () => {
    expect(planShards([bytes("a", 5), bytes("b", 5)], 10).map(({ file }) => file)).toEqual(["model.safetensors"]);
    expect(planShards([bytes("big", 50)], 10).map(({ file }) => file)).toEqual(["model.safetensors"]);
    expect(planShards([], 10)).toEqual([{ file: "model.safetensors", tensors: [] }]);
    const plan = planShards([bytes("a", 5), bytes("b", 6), bytes("big", 50), bytes("c", 4), bytes("d", 6)], 10);
    expect(plan.map(({ file, tensors }) => [file, tensors.map(({ name }) => name)])).toEqual([
      ["model-00001-of-00004.safetensors", ["a"]],
      ["model-00002-of-00004.safetensors", ["b"]],
      ["model-00003-of-00004.safetensors", ["big"]],
      ["model-00004-of-00004.safetensors", ["c", "d"]],
    ]);
  });

  test("keeps every tensor, their order and the limit", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20)), fc.integer({ min: 1, max: 30 }), (sizes, limit) => {
        const tensors = sizes.map((size, i) => bytes(`t${i}`, size));
        const shards = planShards(tensors, limit);
        expect(shards.flatMap((shard) => shard.tensors)).toEqual(tensors);
        for (const shard of shards) {
          expect(shard.tensors.length > 0 || tensors.length === 0).toBe(true);
          const total = shard.tensors.reduce((sum, tensor) => sum + plannedBytes(tensor), 0);
          const large = shard.tensors.filter((tensor) => plannedBytes(tensor) > 0);
          expect(total <= limit || large.length === 1).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("encodeIndex", () => {
  test("writes what Hugging Face writes: total_size, names sorted, two spaces", () => {
    const shards = planShards([bytes("b", 5), bytes("a", 6)], 6);
    expect(encodeIndex(shards, { total_parameters: 11 })).toBe(`{
  "metadata": {
    "total_parameters": 11,
    "total_size": 11
  },
  "weight_map": {
    "a": "model-00002-of-00002.safetensors",
    "b": "model-00001-of-00002.safetensors"
  }
}
`);
  });

  test("is read back, whatever the names", () => {
    const names = fc.uniqueArray(fc.oneof(fc.string(), fc.constantFrom("10", "9", "__proto__")), {
      minLength: 1,
      maxLength: 6,
    });
    fc.assert(
      fc.property(names, (list) => {
        const shards = planShards(
          list.map((name) => bytes(name, 3)),
          5,
        );
        const { shardOf, metadata } = parseIndex(new TextEncoder().encode(encodeIndex(shards)), "index");
        const expected = shards.flatMap(({ file, tensors }) =>
          tensors.map(({ name }): [string, string] => [name, file]),
        );
        expect([...shardOf].toSorted()).toEqual(expected.toSorted());
        expect(metadata).toEqual({ total_size: 3 * list.length });
      }),
      { numRuns: 200 },
    );
  });
});
