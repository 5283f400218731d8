import { expect, test } from "bun:test";
import * as fc from "fast-check";
import {
  checkSampling,
  DEFAULT_SAMPLING,
  distribution,
  hasPenalties,
  penalise,
  pick,
  rank,
  type SamplingOptions,
  wholeDistribution,
} from "./sampling.ts";

const PLAIN: SamplingOptions = { ...DEFAULT_SAMPLING, temperature: 1, topK: 0, topP: 1, minP: 0 };
/** Probabilities 0.5, 0.25, 0.125, 0.125 for tokens 2, 0, 1, 3. */
const LOGITS = Float32Array.of(Math.log(0.25), Math.log(0.125), Math.log(0.5), Math.log(0.125));

function probabilities(options: Partial<SamplingOptions>): [number, number][] {
  const { ids, probabilities } = distribution(rank(LOGITS, 0), { ...PLAIN, ...options });
  return ids.map((id, at) => [id, Math.round((probabilities[at] ?? NaN) * 1e4) / 1e4]);
}

test.each<[string, Partial<SamplingOptions>, [number, number][]]>([
  [
    "nothing cut",
    {},
    [
      [2, 0.5],
      [0, 0.25],
      [1, 0.125],
      [3, 0.125],
    ],
  ],
  ["greedy", { temperature: 0 }, [[2, 1]]],
  [
    "the two best",
    { topK: 2 },
    [
      [2, 0.6667],
      [0, 0.3333],
    ],
  ],
  [
    "three quarters of the probability",
    { topP: 0.75 },
    [
      [2, 0.6667],
      [0, 0.3333],
    ],
  ],
  [
    "a little more",
    { topP: 0.76 },
    [
      [2, 0.5714],
      [0, 0.2857],
      [1, 0.1429],
    ],
  ],
  ["at least the best", { topP: 0.01 }, [[2, 1]]],
  [
    "half as likely as the best",
    { minP: 0.45 },
    [
      [2, 0.6667],
      [0, 0.3333],
    ],
  ],
  ["only the best", { minP: 1 }, [[2, 1]]],
  [
    "hot: the square root of the probabilities",
    { temperature: 2, topK: 2 },
    [
      [2, 0.5858],
      [0, 0.4142],
    ],
  ],
  ["top-p is cut before the temperature", { temperature: 100, topP: 0.5 }, [[2, 1]]],
  [
    "in OpenAI's convention top-p is cut after the temperature",
    { convention: "openai", temperature: 100, topP: 0.5 },
    [
      [2, 0.5017],
      [0, 0.4983],
    ],
  ],
])("%s", (_, options, wanted) => {
  expect(probabilities(options)).toEqual(wanted);
});

test("in OpenAI's convention presence and frequency count what was generated, repetition looks at everything", () => {
  const logits = Float32Array.of(2, 2, 2, -Infinity);
  const penalties = { repeatPenalty: 2, presencePenalty: 0.5, frequencyPenalty: 0.25, penaltyWindow: 7 };
  penalise(logits, [0, 0, 1, 0, 1, 1, 3], { ...PLAIN, convention: "openai", ...penalties }, 3);
  expect([...logits]).toEqual([1 - 0.5 - 0.25, 1 - 0.5 - 0.5, 2, -Infinity]);
});

test("penalties count within their window and act on the sign", () => {
  const logits = Float32Array.of(2, -2, 1, 1);
  penalise(logits, [3, 0, 1, 0], {
    ...PLAIN,
    repeatPenalty: 2,
    presencePenalty: 0.5,
    frequencyPenalty: 0.25,
    penaltyWindow: 3,
  });
  expect([...logits]).toEqual([2 / 2 - 0.5 - 0.5, -2 * 2 - 0.5 - 0.25, 1, 1]);
  const same = Float32Array.of(2, -2);
  penalise(same, [0, 1, 7], { ...PLAIN, repeatPenalty: 2, penaltyWindow: 0 });
  expect([...same]).toEqual([2, -2]);
  expect(hasPenalties(PLAIN)).toBe(false);
  expect(hasPenalties({ ...PLAIN, presencePenalty: 0.1 })).toBe(true);
});

test("penalties, however large, leave probabilities", () => {
  for (const penalty of [{ repeatPenalty: 1e-300 }, { presencePenalty: 1e300 }, { frequencyPenalty: -1e300 }]) {
    const options = { ...PLAIN, ...penalty };
    const logits = Float32Array.of(1, 2, 3);
    penalise(logits, [0, 1, 2, 0, 1], checkSampling(options));
    const { probabilities } = distribution(rank(logits, 0), options);
    expect(probabilities.reduce((sum, each) => sum + each)).toBeCloseTo(1);
  }
  expect(() => checkSampling({ ...PLAIN, repeatPenalty: Infinity })).toThrow("repeatPenalty is Infinity");
});

test("ranks by logit, then by id", () => {
  expect(rank(Float32Array.of(1, 3, 3, -Infinity, 2), 4).ids).toEqual([1, 2, 4, 0]);
});

test("ranks all, or the k best, as a sort by logit and then by id does", () => {
  const rounded = fc.float32Array({ minLength: 1, maxLength: 40, noNaN: true }).map((values) => values.map(Math.round));
  const logits = fc.oneof(rounded, fc.float32Array({ minLength: 1, maxLength: 600, size: "max", noNaN: true }));
  fc.assert(
    fc.property(logits, fc.integer({ min: 1, max: 500 }), (values, k) => {
      const ids = Array.from(values.keys()).toSorted((one, other) => {
        const [left = 0, right = 0] = [values[one], values[other]];
        return left === right ? one - other : right < left ? -1 : 1;
      });
      expect(rank(values, 0)).toEqual({ ids, logits: ids.map((id) => values[id] ?? 0) });
      expect(rank(values, k).ids).toEqual(ids.slice(0, k));
    }),
    { numRuns: 300 },
  );
});

test("picks by the cumulative sum, and always something", () => {
  const dist = distribution(rank(LOGITS, 0), PLAIN);
  expect([0, 0.49, 0.51, 0.74, 0.76, 0.99].map((u) => pick(dist, u))).toEqual([2, 2, 0, 0, 1, 3]);
  expect(pick({ ids: [5, 6], probabilities: [0.4, 0.4] }, 0.9)).toBe(6);
});

test("whatever the options: the best token stays, and probabilities add up to one", () => {
  const options = fc.record({
    temperature: fc.double({ min: 0, max: 5, noNaN: true }),
    topK: fc.nat(10),
    topP: fc.double({ min: 1e-3, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  const logits = fc.float32Array({ minLength: 1, maxLength: 20, noNaN: true, min: -50, max: 50 });
  fc.assert(
    fc.property(logits, options, (values, chosen) => {
      const { ids, probabilities } = distribution(rank(values, 0), { ...PLAIN, ...chosen });
      expect(ids[0]).toBe(rank(values, 1).ids[0]);
      expect(probabilities.length).toBe(ids.length);
      expect(Math.abs(probabilities.reduce((sum, value) => sum + value, 0) - 1)).toBeLessThan(1e-9);
    }),
    { numRuns: 200 },
  );
});

test("without top-k the same tokens are kept with the same probabilities, unsorted", () => {
  const options = fc.record({
    convention: fc.constantFrom("openai" as const, "llama.cpp" as const),
    temperature: fc.double({ min: 0.1, max: 5, noNaN: true }),
    topP: fc.oneof(fc.constant(1), fc.double({ min: 1e-3, max: 1, noNaN: true })),
    minP: fc.oneof(fc.constant(0), fc.double({ min: 0.001, max: 1, noNaN: true })),
  });
  const one = fc.oneof(fc.constant(-Infinity), fc.double({ min: -40, max: 40, noNaN: true }));
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 300 }), options, (values, chosen) => {
      const logits = Float32Array.from([...values, 1]);
      const sampling = { ...PLAIN, ...chosen };
      const ranked = distribution(rank(logits, 0), sampling);
      const wanted = new Map(ranked.ids.map((id, at) => [id, ranked.probabilities[at] ?? 0]));
      const { ids, probabilities } = wholeDistribution(logits, sampling);
      expect(ids).toEqual(ids.toSorted((left, right) => left - right));
      // Rounding may decide about a token on the edge; what is out of the question has no probability.
      const found = new Map(ids.map((id, at) => [id, probabilities[at] ?? 0]));
      const differing = [...new Set([...wanted.keys(), ...found.keys()])].filter(
        (id) => Math.abs((wanted.get(id) ?? 0) - (found.get(id) ?? 0)) > 1e-9,
      );
      expect(differing).toEqual([]);
    }),
    { numRuns: 300 },
  );
});

test.each([
  [{ temperature: -1 }, "temperature is -1"],
  [{ topK: 1.5 }, "topK is 1.5"],
  [{ topP: 0 }, "topP is 0"],
  [{ minP: 2 }, "minP is 2"],
  [{ repeatPenalty: 0 }, "repeatPenalty is 0"],
  [{ presencePenalty: NaN }, "presencePenalty is NaN"],
])("%j is refused", (change, message) => {
  expect(() => checkSampling({ ...PLAIN, ...change })).toThrow(message);
});
