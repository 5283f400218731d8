import { describe, expect, test } from "bun:test";
import { combined, keepAtRandom } from "./rows.ts";
import type { Combination, MajoritySign } from "../to-files/options.ts";

describe("one element of several adapters", () => {
  // Elements and weights; by hand from peft.utils.merge_utils.
  test.each<[Combination, MajoritySign, number[], number[], number]>([
    ["magnitude-prune", "total", [0.5, 0, -2], [1, 5, 2], -3.5],
    ["dare-linear", "total", [0.5, 0, -2], [1, 5, 2], -3.5],
    // −1.5 in sum, so minus: the third alone.
    ["ties", "total", [0.5, 0, -2], [1, 5, 2], -4],
    // One plus and one minus, a tie, which elects the plus.
    ["ties", "frequency", [0.5, 0, -2], [1, 5, 2], 0.5],
    // The weights have no say: 3 − 2 is plus, and the mean of both that are.
    ["dare-ties", "total", [1, 2, -2], [1, -1, 100], -0.5],
    ["ties", "frequency", [-1, -1, 9], [1, 3, 1], -2],
    ["ties", "total", [0, 0, 0], [1, 1, 1], 0],
    // Zero in sum elects the plus.
    ["ties", "total", [3, -3, 0], [1, 1, 1], 3],
    ["ties", "total", [-3], [-1], 3],
  ])("%s by %s: %j with %j", (combination, majoritySign, kept, weights, wanted) => {
    expect(combined({ combination, majoritySign }, kept, weights)).toBe(wanted);
  });
});

describe("DARE's choice", () => {
  const drop = { density: 0.3, seed: 7, tensor: "model.layers.0.q_proj.weight", adapter: 1 };
  const COUNT = 40_000;
  const choice = (changes: Partial<typeof drop> = {}, first = 0) => {
    const keep = keepAtRandom({ ...drop, ...changes });
    return Array.from({ length: COUNT }, (_, at) => keep(1, first + at));
  };
  const shareOf = (list: readonly boolean[]) => list.filter(Boolean).length / list.length;

  test("keeps elements with the probability, divided by it, independent of each other", () => {
    const kept = choice();
    expect(new Set(kept)).toEqual(new Set([0, 1 / 0.3]));
    // Five standard deviations of the share are 0.0115; of pairs of neighbors 0.0072.
    expect(Math.abs(shareOf(kept.map((one) => one > 0)) - 0.3)).toBeLessThan(0.0115);
    for (const distance of [1, 2, 3, 4, 5]) {
      const both = kept.slice(distance).map((one, at) => one > 0 && (kept[at] ?? 0) > 0);
      expect(Math.abs(shareOf(both) - 0.09)).toBeLessThan(0.0072);
    }
  });

  test("is the same for a seed, from wherever one begins; another for another seed, tensor and adapter", () => {
    const kept = choice();
    expect(choice()).toEqual(kept);
    expect(choice({}, 1003).slice(0, 1000)).toEqual(kept.slice(1003, 2003));
    for (const changes of [{ seed: 8 }, { tensor: "model.layers.1.q_proj.weight" }, { adapter: 0 }]) {
      const both = choice(changes).map((one, at) => one > 0 && (kept[at] ?? 0) > 0);
      expect(Math.abs(shareOf(both) - 0.09)).toBeLessThan(0.0072);
    }
    // What a density keeps, a higher one keeps, too.
    const more = choice({ density: 0.6 });
    expect(kept.every((one, at) => one === 0 || (more[at] ?? 0) > 0)).toBe(true);
  });

  test("is that of Philox as documented", () => {
    // From 15 lines of Python that draw Random123's known answers.
    const first = choice().slice(0, 12);
    expect(first.map((one) => Math.sign(one))).toEqual([0, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0]);
  });
});
