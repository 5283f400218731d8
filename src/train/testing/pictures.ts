// Models of pictures that are trained for a few steps on made-up pictures of three classes.
import { isAdapterMethod, methodNamed } from "../../adapters/methods.ts";
import type { HeldDtype } from "../../adapters/training/settings.ts";
import type { Device } from "../../device/device.ts";
import { pictures } from "../../models/vision/testing/models.ts";
import type { PictureBatch } from "../../tasks/pictures.ts";
import { Engine } from "../engine.ts";
import { type PlacedPictureModel, PictureSource } from "../picture-source.ts";
import type { PictureTask } from "../picture-task.ts";

export interface PictureTrial {
  /** The model's folder. */
  readonly folder: string;
  readonly method: "randlora" | "lora" | "full";
  /** Of an adapter. */
  readonly targets?: string | readonly string[];
  readonly task: PictureTask;
  /** By default that of the checkpoint. */
  readonly dtype?: HeldDtype;
}

export const CLASSES = ["cat", "dog_house", "owl"];

/** Six pictures of 12 × 12 pixels, two of each class. */
export const BATCH: PictureBatch = { pictures: pictures(6, [12, 12]), labels: Uint32Array.of(0, 1, 2, 0, 1, 2) };

/** The loss before each of so many steps; `use` then has the model, and its loss at the end. */
export async function trainPictures(
  gpu: Device,
  { folder, method: name, targets = [], task, dtype = "keep" }: PictureTrial,
  steps: number,
  use: (model: PlacedPictureModel, end: number) => Promise<void> = async () => {},
): Promise<number[]> {
  const method = methodNamed(name);
  const given = {
    rank: 2,
    alpha: 8,
    dropout: 0,
    targets: typeof targets === "string" ? targets : [...targets],
    layers: [],
    initAdapter: null,
    initCommit: null,
  };
  const own = isAdapterMethod(method) ? method.training.resolve({}) : undefined;
  const adapter = own === undefined ? null : { ...given, initSha256: null, ...own };
  const settings = { model: folder, method, adapter, task, dtype, seed: 3 } as const;
  await using source = await PictureSource.open(settings, { folder, weights: undefined });
  const { staging } = gpu;
  const place = { staging, tokens: 60, microBatches: 1, budget: 2 ** 20, choices: undefined };
  using model = await source.place(gpu, place);
  await model.fill();
  const optimizer = { betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0, gradClip: 1 } as const;
  using engine = new Engine(gpu, model, { optimizer, checkpointing: false, staging });
  await engine.begin();
  const losses: number[] = [];
  const targetsOf = model.task.termsOf(BATCH);
  const step = (index: number) => ({ index, epoch: 0, microBatches: [BATCH], targets: targetsOf, tokens: 6 });
  for (let index = 0; index < steps; index++) {
    const { outcome } = await engine.step(step(index), 1e-2);
    losses.push((await outcome).loss);
  }
  await use(model, (await engine.sampleLoss(step(0))) ?? NaN);
  return losses;
}
