import * as v from "valibot";
import type { Metrics } from "../types.ts";

const finite = v.pipe(v.number(), v.finite());
const Step = v.object({
  step: finite,
  loss: finite,
  learning_rate: finite,
  grad_norm: finite,
  tokens: finite,
  seconds: finite,
  time: v.exactOptional(finite),
});
const Evaluation = v.object({
  step: finite,
  valid_loss: finite,
  valid_accuracy: v.exactOptional(finite),
  time: v.exactOptional(finite),
});
const Line = v.union([Step, Evaluation]);

/** Reads metrics.jsonl for a plot: lines that are none of ours, or were cut short, are passed over. */
export function parseMetrics(text: string): Metrics[] {
  return text.split("\n").flatMap((line) => {
    try {
      const result = v.safeParse(Line, JSON.parse(line));
      return result.success ? [result.output] : [];
    } catch {
      return [];
    }
  });
}
