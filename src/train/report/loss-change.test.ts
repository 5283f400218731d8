import { expect, test } from "bun:test";
import type { Metrics } from "../types.ts";
import { movedLosses, trainingAdvice } from "./train-result.ts";

const losses = (...all: readonly number[]): Metrics[] =>
  all.map((loss, i) => ({ step: i + 1, loss, learning_rate: 1, grad_norm: 1, tokens: 1, seconds: 1 }));
const validated = (valid_loss: number, relativeChange = 0.1) => ({
  ...movedLosses([{ step: 0, valid_loss }, ...losses(2, 2)]),
  relativeChange,
});
const trained = (all: readonly number[], relativeChange = 0.1) => ({ ...movedLosses(losses(...all)), relativeChange });
const END = { validLoss: 2, bestStep: 10, steps: 10 };
const BLIND = { validLoss: undefined, bestStep: undefined, steps: 80 };

test("a run whose loss fell is told nothing, however small its ΔW", () => {
  expect(trainingAdvice(END, validated(2.2), 1e-4)).toBeUndefined();
  expect(trainingAdvice(END, validated(2.2, 1e-5), 1e-4)).toBeUndefined();
  expect(trainingAdvice(BLIND, trained([3, 3, 3, 3, 2, 2, 2, 2]), 1e-4)).toBeUndefined();
});

test("a run that moved little is told to train longer or at a higher rate", () => {
  const more = "try more --steps or --epochs, or a higher --learning-rate (it was 0.0001)";
  expect(trainingAdvice(END, validated(2.01, 2e-4), 1e-4)).toBe(
    `little was trained: ΔW is 0.0002 of the adapted weights; ${more}`,
  );
  expect(trainingAdvice(END, validated(2.02), 1e-4)).toBe(
    `the validation loss hardly fell (2.0200 → 2.0000, 1.0 %); ${more}`,
  );
  expect(trainingAdvice(BLIND, trained([2, 2, 2, 2, 2, 2, 1.99, 1.99]), 1e-4)).toBe(
    `the training loss hardly fell (2.0000 → 1.9900, 0.5 %); ${more}`,
  );
  expect(trainingAdvice(BLIND, trained([2, 2, 2, 2, 2, 2, 2.01, 2.01]), 1e-4)).toBe(
    `the training loss did not fall (2.0000 → 2.0100); ${more}`,
  );
  expect(trainingAdvice(BLIND, trained([2, 2, 2, 2], 0), 1e-4)).toStartWith("little was trained: ΔW is 0 of");
  expect(trainingAdvice({ ...END, bestStep: 5 }, validated(2.02), 1e-4)).toBeUndefined();
});

test("a run whose validation loss rose again is told where it was lowest", () => {
  const metrics = [4, 2.5, 3].map((valid_loss, at) => ({ step: 50 * at, valid_loss }));
  const overfitted = { ...movedLosses([...metrics, ...losses(4, 1)]), relativeChange: 0.1 };
  const end = { validLoss: 3, bestStep: 50, steps: 100 };
  expect(trainingAdvice(end, overfitted, 1)).toBe(
    "overfitted: the validation loss rose from 2.5000 in step 50, which the run stands for, to 3.0000; " +
      "try fewer steps, or --early-stop",
  );
  expect(trainingAdvice({ ...end, validLoss: 2.6 }, overfitted, 1)).toBeUndefined();
});

test("the losses of a few steps are not taken for a trend", () => {
  const few = { ...BLIND, steps: 10 };
  const advice = "10 steps are few: try more --steps or --epochs, or a higher --learning-rate (it was 0.001)";
  expect(trainingAdvice(few, trained([2, 2, 3, 3]), 1e-3)).toBe(advice);
  expect(trainingAdvice(few, trained([2, 2, 1.8, 1.8]), 1e-3)).toBe(advice);
  expect(trainingAdvice(few, trained([2, 2, 1, 1]), 1e-3)).toBeUndefined();
});

test("a run that became worse is told to go slower", () => {
  const lower = "try a lower --learning-rate (it was 1), or other data";
  expect(trainingAdvice({ ...END, bestStep: 0 }, validated(1.5), 1)).toBe(
    `the validation loss did not fall (1.5000 → 2.0000); ${lower}`,
  );
  expect(trainingAdvice({ ...END, bestStep: 3 }, validated(1.5), 1)).toContain("2.0000; step 3 was the best)");
  expect(trainingAdvice(BLIND, trained([2, 2, 3, 3]), 1)).toStartWith("the training loss did not fall");
});
