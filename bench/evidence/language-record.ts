import * as v from "valibot";
import { ALIKE, PLANE } from "./analyses.ts";
import { COST } from "./stages.ts";

const loss = v.nullable(v.number());

/** What `compare --json` says that the page needs. */
export const COMPARED = v.object({
  ending: v.literal("finished"),
  budgets: v.array(v.number()),
  results: v.array(
    v.object({
      method: v.string(),
      seed: v.number(),
      parameters: v.nullable(v.number()),
      steps: v.number(),
      valid_loss: loss,
    }),
  ),
  methods: v.array(
    v.object({
      method: v.string(),
      rank: v.optional(v.number()),
      learning_rate: v.nullable(v.number()),
      parameters: v.nullable(v.number()),
    }),
  ),
  contests: v.array(v.object({ winner: v.nullable(v.string()), reason: v.string() })),
});

/** Of `eval commonsense --json`. */
export const ANSWERED = v.object({
  tasks: v.record(v.string(), v.object({ correct: v.number(), total: v.number(), accuracy: v.number() })),
  mean: v.number(),
});

/** docs/evidence/language.json: all that the section of the page says follows from it. */
export const LANGUAGE_RECORD = v.object({
  date: v.string(),
  machine: v.string(),
  commit: v.string(),
  /** What was typed. */
  command: v.string(),
  model: v.string(),
  protocol: v.object({
    batch: v.number(),
    training: v.number(),
    heldOut: v.number(),
    limit: v.nullable(v.number()),
    beams: v.number(),
    rates: v.array(v.number()),
    rateSteps: v.nullable(v.number()),
  }),
  /** The loss on the held-out samples before any training. */
  before: v.number(),
  /** By method and rate; null where it diverged. */
  rates: v.array(v.object({ method: v.string(), rate: v.number(), loss })),
  compared: COMPARED,
  /** By method, `base` among them: with the first seed. */
  answered: v.record(v.string(), ANSWERED),
  alike: ALIKE,
  plane: PLANE,
  costs: v.record(v.string(), COST),
});

export type LanguageRecord = v.InferOutput<typeof LANGUAGE_RECORD>;
