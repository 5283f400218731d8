import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { EVIDENCE_FOLDER } from "./section.ts";

interface Configuration {
  readonly title: string;
  readonly method: "randlora" | "lora";
  readonly alphaPerRank: number;
  readonly flags?: readonly string[];
  /** Index of its lowest rate: those at which it comes to the losses that are compared. */
  readonly from: number;
}

/** What is compared, the first one with all others. */
export const CONFIGURATIONS: Readonly<Record<string, Configuration>> = {
  lora: { title: "LoRA, α = 2 r", method: "lora", alphaPerRank: 2, from: 1 },
  "lora-decay": {
    title: "LoRA, α = 2 r, weight decay 3",
    method: "lora",
    alphaPerRank: 2,
    flags: ["--weight-decay", "3"],
    from: 1,
  },
  "lora-20": { title: "LoRA, α = 20 r", method: "lora", alphaPerRank: 20, from: 0 },
  "randlora-20": { title: "RandLoRA, α = 20 r", method: "randlora", alphaPerRank: 20, from: 0 },
  "randlora-2": { title: "RandLoRA, α = 2 r", method: "randlora", alphaPerRank: 2, from: 1 },
  "randlora-0.2": { title: "RandLoRA, α = 0.2 r", method: "randlora", alphaPerRank: 0.2, from: 2 },
  "randlora-slow": {
    title: "RandLoRA, α = 20 r, γ at 0.1 of the rate",
    method: "randlora",
    alphaPerRank: 20,
    flags: ["--gamma-rate", "0.1"],
    from: 1,
  },
  "randlora-2-decay": {
    title: "RandLoRA, α = 2 r, weight decay 3",
    method: "randlora",
    alphaPerRank: 2,
    flags: ["--weight-decay", "3"],
    from: 1,
  },
  "randlora-20-decay": {
    title: "RandLoRA, α = 20 r, weight decay 10",
    method: "randlora",
    alphaPerRank: 20,
    flags: ["--weight-decay", "10"],
    from: 0,
  },
};

const RUN = v.object({
  configuration: v.picklist(Object.keys(CONFIGURATIONS)),
  rate: v.number(),
  seed: v.number(),
  /** On held-out samples, at the end. */
  loss: v.number(),
  /** KL(base ‖ adapted) in nats a token, and its standard error. */
  forgetting: v.number(),
  error: v.number(),
  /** ‖ΔW‖/‖W‖ over the adapted matrices. */
  change: v.number(),
  parameters: v.number(),
});

/** docs/evidence/forgetting-NAME.json: all that the page says of a model follows from it. */
export const FORGETTING_RECORD = v.object({
  date: v.string(),
  machine: v.string(),
  commit: v.string(),
  /** What was typed. */
  command: v.string(),
  title: v.string(),
  steps: v.number(),
  batch: v.number(),
  texts: v.number(),
  /** Held-out losses at which configurations are compared. */
  at: v.array(v.number()),
  before: v.number(),
  runs: v.array(RUN),
  /** One configuration at one rate with more seeds. */
  noise: v.array(RUN),
  /** Seconds of the processor. */
  processor: v.number(),
});
export type ForgettingRecord = v.InferOutput<typeof FORGETTING_RECORD>;
type Run = ForgettingRecord["runs"][number];

/**
 * What runs of one configuration and seed, at rising rates, come to where their loss is `loss`: between the two runs around it, in
 * proportion. Undefined where the losses do not reach it; rates beyond the lowest loss are left out.
 */
export function atLoss(runs: readonly Run[], loss: number, of: "forgetting" | "change"): number | undefined {
  const rising = runs.toSorted((a, b) => a.rate - b.rate);
  for (const [index, high] of rising.entries()) {
    const low = rising[index + 1];
    if (low === undefined || low.loss >= high.loss) return undefined;
    if (high.loss < loss) return undefined;
    if (low.loss <= loss) return high[of] + ((high.loss - loss) / (high.loss - low.loss)) * (low[of] - high[of]);
  }
  return undefined;
}

/** At each seed; undefined where a curve does not reach the loss. */
export function bySeed({ runs }: ForgettingRecord, configuration: string, loss: number, of: "forgetting" | "change") {
  const own = runs.filter((run) => run.configuration === configuration);
  const seeds = [...new Set(own.map(({ seed }) => seed))].toSorted((a, b) => a - b);
  return seeds.map((seed) =>
    atLoss(
      own.filter((run) => run.seed === seed),
      loss,
      of,
    ),
  );
}

/** The records that there are, smallest model first. */
export async function forgettingRecords(): Promise<Record<string, ForgettingRecord>> {
  const found: Record<string, ForgettingRecord> = {};
  for (const name of ["small", "135m"]) {
    const file = join(EVIDENCE_FOLDER, `forgetting-${name}.json`);
    if (existsSync(file)) found[name] = v.parse(FORGETTING_RECORD, JSON.parse(await readFile(file, "utf8")));
  }
  return found;
}
