import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { planSteps } from "./steps.ts";
import { numberedSamples as numberedSet } from "../text/testing/data.ts";
import { samplesOf as textSamples } from "../text/samples/batch.ts";
import type { MicroBatch } from "../text/samples/types.ts";
import type { StepOptions, ReadyPlan, ReadyStep } from "./types.ts";

const numberedSamples = (lengths: readonly number[], maxLength?: number) =>
  textSamples(numberedSet(lengths, maxLength));

const OPTIONS: StepOptions = {
  batchSize: 2,
  accumulation: 2,
  length: { epochs: 1 },
  shuffle: false,
  seed: 0n,
};

/** Numbers of the samples of a micro-batch, in order. */
function samplesOf({ ids, positions }: MicroBatch): number[] {
  return [...ids].filter((_, t) => positions[t] === 0).map((id) => id / 1000);
}

function batchesOf({ shards }: ReadyStep<MicroBatch>): MicroBatch[] {
  return shards.flatMap(({ microBatches }) => microBatches);
}

function samplesOfSteps(plan: ReadyPlan<MicroBatch>): number[][][] {
  return Array.from({ length: plan.length }, (_, i) => batchesOf(plan.step(i)).map(samplesOf));
}

test("a micro-batch is whole samples one after another, with what each row must predict", () => {
  const plan = planSteps(numberedSamples([3, 4]), OPTIONS);
  expect(plan.step(0)).toEqual({
    index: 0,
    epoch: 0,
    targets: 3,
    tokens: 7,
    shards: [
      {
        first: 0,
        microBatches: [
          {
            ids: Uint32Array.of(0, 1, 2, 1000, 1001, 1002, 1003),
            positions: Uint32Array.of(0, 1, 2, 0, 1, 2, 3),
            starts: Uint32Array.of(0, 0, 0, 3, 3, 3, 3),
            rows: Uint32Array.of(1, 4, 5),
            targets: Uint32Array.of(2, 1002, 1003),
            samples: 2,
          },
        ],
      },
    ],
  });
});

describe("without shuffling", () => {
  test("samples come in file order, and the last, incomplete step is kept", () => {
    const plan = planSteps(numberedSamples([2, 2, 2, 2, 2, 2, 2]), { ...OPTIONS, length: { epochs: 2 } });
    const epoch = [
      [
        [0, 1],
        [2, 3],
      ],
      [[4, 5], [6]],
    ];
    expect(plan.stepsPerEpoch).toBe(2);
    expect(samplesOfSteps(plan)).toEqual([...epoch, ...epoch]);
    expect([0, 1, 2, 3].map((i) => plan.step(i).epoch)).toEqual([0, 0, 1, 1]);
  });

  test("a number of steps goes through as many epochs as it takes", () => {
    const plan = planSteps(numberedSamples([2, 2, 2]), { ...OPTIONS, accumulation: 1, length: { steps: 5 } });
    expect(samplesOfSteps(plan)).toEqual([[[0, 1]], [[2]], [[0, 1]], [[2]], [[0, 1]]]);
  });

  test("packing fills rows in order and starts a new one where a sample does not fit", () => {
    const options = { ...OPTIONS, batchSize: 1, accumulation: 1, packing: 10 };
    const plan = planSteps(numberedSamples([4, 6, 3, 8, 2, 10]), options);
    expect(samplesOfSteps(plan)).toEqual([[[0, 1]], [[2]], [[3, 4]], [[5]]]);
    expect(plan.largest).toEqual({ tokens: 10, targets: 5 });
  });
});

const lengths = fc.array(fc.integer({ min: 2, max: 9 }), { minLength: 1, maxLength: 30 });
const runs = fc.record({
  lengths,
  batchSize: fc.integer({ min: 1, max: 5 }),
  accumulation: fc.integer({ min: 1, max: 3 }),
  seed: fc.bigInt(0n, 2n ** 64n - 1n),
  packing: fc.option(fc.integer({ min: 9, max: 20 }), { nil: undefined }),
});

test("every epoch takes every sample once; rows and targets belong to one sample", () => {
  fc.assert(
    fc.property(runs, ({ lengths, ...rest }) => {
      const data = numberedSamples(lengths);
      const plan = planSteps(data, { ...OPTIONS, ...rest, shuffle: true, length: { epochs: 2 } });
      const seen = [0, 1].map(() => Array.from<number>([]));
      for (let i = 0; i < plan.length; i++) {
        const step = plan.step(i);
        expect(batchesOf(step).length).toBeLessThanOrEqual(rest.accumulation);
        for (const batch of batchesOf(step)) {
          seen[step.epoch]?.push(...samplesOf(batch));
          expect(batch.ids.length).toBeLessThanOrEqual(plan.largest.tokens);
          expect([...batch.targets]).toEqual([...batch.rows].map((row) => batch.ids[row + 1] ?? -1));
          expect([...batch.rows].every((row) => batch.starts[row] === batch.starts[row + 1])).toBe(true);
          expect([...batch.positions]).toEqual([...batch.starts].map((start, t) => t - start));
        }
      }
      const all = lengths.map((_, i) => i);
      expect(seen.map((indices) => indices.toSorted((a, b) => a - b))).toEqual([all, all]);
    }),
    { numRuns: 60 },
  );
});

test("a step is the same whenever and in whatever order it is asked for", () => {
  const data = numberedSamples([3, 4, 5, 6, 7, 8, 9, 10, 11]);
  const options: StepOptions = { ...OPTIONS, shuffle: true, seed: 7n, length: { epochs: 3 }, packing: 16 };
  const forward = planSteps(data, options);
  const steps = Array.from({ length: forward.length }, (_, i) => forward.step(i));
  const resumed = planSteps(data, options);
  for (let i = forward.length - 1; i >= 0; i--) expect(resumed.step(i)).toEqual(steps[i] ?? forward.step(i));
});

test("the order changes with the epoch and with the seed, and stays what it is", () => {
  const data = numberedSamples([2, 2, 2, 2, 2, 2, 2, 2]);
  const order = (seed: bigint, length: StepOptions["length"]) =>
    samplesOfSteps(planSteps(data, { ...OPTIONS, batchSize: 8, accumulation: 1, shuffle: true, seed, length })).flat();
  // Runs that were saved are resumed with these orders: they must never change.
  expect(order(0n, { epochs: 2 })).toEqual([
    [3, 7, 5, 1, 4, 6, 0, 2],
    [6, 3, 0, 2, 7, 5, 4, 1],
  ]);
  expect(order(1n << 40n, { epochs: 1 })).toEqual([[5, 1, 0, 4, 2, 6, 7, 3]]);
});

test("sizes that make no sense are refused", () => {
  const data = numberedSamples([2, 2]);
  for (const wrong of [{ batchSize: 0 }, { accumulation: 1.5 }, { length: { steps: 0 } }]) {
    expect(() => planSteps(data, { ...OPTIONS, ...wrong })).toThrow(RangeError);
  }
  expect(() => planSteps(numberedSamples([]), OPTIONS)).toThrow(RangeError);
  expect(() => planSteps(data, OPTIONS).step(1)).toThrow("no step 1 among 1");
});

test("the largest micro-batch of a run that goes on for ever is found at once", () => {
  const options = { ...OPTIONS, shuffle: true, length: { steps: 1e12 } };
  expect(planSteps(numberedSamples([2, 5, 3, 4]), options).largest.tokens).toBe(9);
});

test("shards have the step's rows between them, whoever computes them", () => {
  fc.assert(
    fc.property(runs, fc.nat(3), fc.nat(3), ({ lengths, packing, ...rest }, more, power) => {
      const shards = 2 ** Math.max(more, power);
      const data = numberedSamples(lengths);
      const options = { ...OPTIONS, ...rest, packing, shuffle: true };
      const whole = planSteps(data, options);
      const cut = planSteps(data, { ...options, shards });
      const size = 2 ** power;
      const shares = Array.from({ length: size }, (_, rank) => {
        return planSteps(data, { ...options, shards, share: { rank, size } });
      });
      for (let i = 0; i < whole.length; i++) {
        const step = cut.step(i);
        expect(step.shards.length).toBe(shards);
        expect(batchesOf(step).flatMap(samplesOf)).toEqual(batchesOf(whole.step(i)).flatMap(samplesOf));
        expect([step.targets, step.tokens]).toEqual([whole.step(i).targets, whole.step(i).tokens]);
        let first = 0;
        for (const shard of step.shards) {
          expect(shard.first).toBe(first);
          first += shard.microBatches.length;
          for (const batch of shard.microBatches) expect(batch.ids.length).toBeLessThanOrEqual(cut.largest.tokens);
        }
        expect(shares.flatMap((share) => share.step(i).shards)).toEqual([...step.shards]);
      }
    }),
    { numRuns: 40 },
  );
});
