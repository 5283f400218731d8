import * as v from "valibot";
import { ALIKE, PLANE } from "./analyses.ts";
import { COST } from "./stages.ts";

/** What `finetune --json` says that the page needs. */
export const FINETUNED = v.object({
  ending: v.literal("finished"),
  steps: v.number(),
  valid_loss: v.number(),
  valid_accuracy: v.number(),
  trainable_parameters: v.number(),
});

/** docs/evidence/images.json: all that the section of the page says follows from it. */
export const IMAGES_RECORD = v.object({
  date: v.string(),
  machine: v.string(),
  commit: v.string(),
  /** What was typed. */
  command: v.string(),
  /** Images of each class, and steps or epochs of each amount. */
  protocol: v.object({
    pretraining: v.number(),
    pretrainingEpochs: v.number(),
    training: v.number(),
    choosing: v.number(),
    test: v.number(),
    batch: v.number(),
    shotSteps: v.number(),
    epochs: v.number(),
    seeds: v.number(),
    rates: v.array(v.number()),
    budget: v.number(),
  }),
  model: v.object({ parameters: v.number(), accuracy: v.number() }),
  methods: v.array(
    v.object({
      name: v.string(),
      /** Its flags. */
      flags: v.array(v.string()),
      /** Trainable parameters, those of the head among them. */
      parameters: v.number(),
      /** Learning rates that were chosen, for a few images and for many. */
      rates: v.object({ few: v.number(), many: v.number() }),
    }),
  ),
  amounts: v.array(v.object({ name: v.string(), images: v.number() })),
  /** Accuracies on the test images. */
  results: v.array(
    v.object({ method: v.string(), amount: v.string(), seed: v.number(), accuracy: v.number(), loss: v.number() }),
  ),
  alike: ALIKE,
  plane: PLANE,
  costs: v.record(v.string(), COST),
});
export type ImagesRecord = v.InferOutput<typeof IMAGES_RECORD>;
