import { expect, test } from "bun:test";
import { imagesPage, imagesImage } from "./images-page.ts";
import type { ImagesRecord } from "./images-record.ts";

const NAMES = ["RandLoRA", "RandLoRA, sparse", "LoRA", "VeRA", "all weights"];
const AMOUNTS = ["1 shot", "50 %", "100 %"];

/** Accuracies that are the method's own, and a little more with each seed. @param own of each method */
function record(own: readonly number[]): ImagesRecord {
  const results = NAMES.flatMap((method, at) =>
    AMOUNTS.flatMap((amount) =>
      [0, 1, 2].map((seed) => {
        // What differs between the seeds does so for all methods, nearly.
        const accuracy = (own[at] ?? NaN) + 0.02 * seed + 0.001 * ((at * 7 + seed * seed * 3) % 5);
        return { method, amount, seed, accuracy, loss: 1 - accuracy };
      }),
    ),
  );
  const cka = { a: 0.99, b: 0.98, c: 0.9, d: 0.8 };
  return {
    date: "2026-01-01",
    machine: "a machine",
    commit: "abc",
    command: "bun x",
    protocol: {
      pretraining: 10,
      pretrainingEpochs: 2,
      training: 6000,
      choosing: 5,
      test: 5,
      batch: 4,
      shotSteps: 3,
      epochs: 2,
      seeds: 3,
      rates: [1e-3, 1e-2, 1e-1],
      budget: 100,
    },
    model: { parameters: 1000, accuracy: 0.9 },
    methods: NAMES.map((name) => ({ name, flags: [], parameters: 100, rates: { few: 1e-2, many: 1e-2 } })),
    amounts: AMOUNTS.map((name, at) => ({ name, images: 4 * 10 ** at })),
    results,
    alike: { layers: [{ name: "x", cka }], samples: 8 },
    plane: {
      x: [-0.5, 0.5, 1.5],
      y: [-0.5, 0.5, 1.5],
      loss: Array.from({ length: 3 }, () => [1, 2, 3]),
      corners: { A: 1.5, B: 2, C: 2.5 },
      samples: 8,
    },
    costs: { all: { seconds: 60, processor: 30 } },
  };
}

test("what is said follows from the numbers", () => {
  const page = imagesPage(record([0.8, 0.8, 0.7, 0.6, 0.8]));
  expect(page).toMatch(/above LoRA .*: \*\*holds\*\*\. RandLoRA − LoRA: 9\.\d ± 0\.\d \(p = 0\.\d+\) with 1 shot, /);
  expect(page).toMatch(/VeRA is below LoRA .*: \*\*holds\*\*/);
  expect(page).toMatch(
    /\*\*no difference that these seeds show\*\*: RandLoRA is near to all weights .*; Sparse bases cost nothing\.$/m,
  );
  expect(page).toContain("| RandLoRA | 100 | 0.01, 0.01 | 8");
  expect(page).not.toContain("NaN");
  const worse = imagesPage(record([0.6, 0.6, 0.7, 0.9, 0.8]));
  expect(worse).toMatch(/above LoRA .*: \*\*does not\*\*/);
  expect(worse).toMatch(/near to all weights .*: \*\*does not\*\*/);
  const apart = record([0.7, 0.7, 0.7, 0.7, 0.7]);
  const results = apart.results.map((one) =>
    one.method === "all weights" && one.amount === "1 shot" ? { ...one, accuracy: one.accuracy + 0.1 } : one,
  );
  expect(imagesPage({ ...apart, results })).toMatch(
    /near to all weights .*: \*\*not with 1 shot\*\*\. all weights − RandLoRA: \d+\.\d ± /,
  );
  expect(imagesPage(record([0.7, 0.7, 0.7, 0.7, 0.7]))).toMatch(
    /\*\*not decided by these seeds\*\*: At equal parameters RandLoRA is above LoRA/,
  );
  const same = record([0.7, 0.7, 0.7, 0.7, 0.7]);
  const edge = { ...same, methods: same.methods.map((one) => ({ ...one, rates: { few: 1e-2, many: 1e-1 } })) };
  expect(imagesPage(edge)).toContain("At an end of the rates that were tried: RandLoRA (many), ");
  expect(imagesImage(same)).not.toContain("NaN");
});
