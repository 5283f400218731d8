import { expect, test } from "bun:test";
import { DROPOUT_MICRO_BATCHES, dropoutMask, dropoutMasks } from "./training.ts";

test("every step, micro-batch and module draws a stream of its own", () => {
  const streams = [1, 2].flatMap((step) =>
    [0, 1, DROPOUT_MICRO_BATCHES - 1].flatMap((microBatch) =>
      [0, 1, 2 ** 16 - 1].map((module) =>
        dropoutMask(0.1, 7, { kind: "train", step, microBatch }, module).stream.join(),
      ),
    ),
  );
  expect(new Set(streams).size).toBe(18);
  const beyond = { kind: "train", step: 1, microBatch: DROPOUT_MICRO_BATCHES } as const;
  expect(() => dropoutMask(0.1, 7, beyond, 0)).toThrow(RangeError);
});

test("nothing is dropped but in training", () => {
  expect(dropoutMasks(0.1, 7, { kind: "evaluate" })).toBeUndefined();
  expect(dropoutMasks(0, 7, { kind: "train", step: 1, microBatch: 0 })).toBeUndefined();
  expect(dropoutMasks(0.1, 2 ** 32 + 7, { kind: "train", step: 1, microBatch: 0 })?.(3)).toMatchObject({ key: [7, 1] });
});
