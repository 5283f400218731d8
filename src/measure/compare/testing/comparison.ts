import { resolveSettings } from "../../../train/settings/resolve-settings.ts";
import type { RunResult } from "../options.ts";
import type { ComparisonRecord } from "../record.ts";
import type { Compared } from "../result.ts";
import type { Contender } from "../types.ts";

/** A contender with the usual settings of its method. @param budget null: the reference */
export function contender(label: string, method: string, budget: number | null, rank = 4): Contender {
  const asked = { model: "models/tiny", data: "d.jsonl", method, ...(budget === null ? {} : { rank }) };
  return { label, budget, settings: resolveSettings(asked, { modelType: "llama", contextLength: 64 }) };
}

/** What a run of it came to; diverged without a loss. */
export function result(method: string, budget: number | null, seed: number, loss: number | null): RunResult {
  return {
    method,
    budget,
    seed,
    parameters: budget === null ? 1e6 : budget + 10,
    steps: 2,
    loss,
    valid_loss: loss,
    best_valid_loss: loss,
    accuracy: null,
    seconds: 1.5,
    peak_bytes: 2e6,
    error: loss === null ? "diverged" : null,
  };
}

/** LoRA, RandLoRA and all weights, two seeds of each. */
export const RECORD: ComparisonRecord = {
  comparison: {
    budgets: [1e3],
    like: null,
    seed: 0,
    seeds: 2,
    looks: [],
    forgetting: 0,
    dropped: [],
    contenders: [
      contender("lora", "lora", 1e3),
      contender("randlora+sparse", "randlora", 1e3, 32),
      contender("full", "full", null),
    ],
  },
  results: [0, 1].flatMap((seed) => [
    result("lora", 1000, seed, 2 + seed / 10),
    result("randlora+sparse", 1000, seed, 1 + seed / 10),
    result("full", null, seed, 0.5),
  ]),
};
/** The same, done. */
export const COMPARED: Compared = { ...RECORD, out: "/tmp/c", ending: "finished" };
