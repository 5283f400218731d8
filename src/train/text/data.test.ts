import { expect, test } from "bun:test";
import type { TrainingData } from "../../data/text/samples/load.ts";
import type { DataSet } from "../../data/text/samples/types.ts";
import { dataHash } from "./data.ts";

/** A stand-in with what a hash reads: tokens, and which of them the loss covers. */
function setOf(...samples: readonly { readonly ids: readonly number[]; readonly supervised: readonly number[] }[]) {
  const sample = (i: number) => ({
    ids: Uint32Array.from(samples[i]?.ids ?? []),
    supervised: Uint8Array.from(samples[i]?.supervised ?? []),
  });
  return { length: samples.length, sample } as unknown as DataSet;
}

const hashOf = (data: Pick<TrainingData, "train" | "valid">) => dataHash({ ...data, read: [] });

test("the data's hash follows tokens, their order, what the loss covers, and which part is validated on", () => {
  const [a, b] = [
    { ids: [5, 6, 7], supervised: [0, 1, 1] },
    { ids: [8], supervised: [1] },
  ];
  const hash = hashOf({ train: setOf(a, b), valid: undefined });
  expect(hashOf({ train: setOf(a, b), valid: undefined })).toBe(hash);
  const others = [
    { train: setOf(b, a), valid: undefined },
    { train: setOf({ ...a, supervised: [1, 1, 1] }, b), valid: undefined },
    { train: setOf({ ...a, ids: [5, 6, 9] }, b), valid: undefined },
    { train: setOf(a), valid: setOf(b) },
  ];
  expect(new Set([hash, ...others.map(hashOf)]).size).toBe(5);
});
